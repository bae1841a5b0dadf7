"""out = softmax(scale * q @ kᵀ, what is hidden left out) @ v from Python, on ndarrays.

The caller has checked shapes and types: everything here goes to code that checks nothing.

Shape letters: Tq, Tk queries and keys of one sequence, d and e the lengths of a key and a value.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinytorch.native import threads
from tinytorch.native.attention import entries, scores
from tinytorch.native.gemm import routines
from tinytorch.native.gemm.microkernel import Tile, tile_shape
from tinytorch.native.gemm.product import _ROOM

Array = NDArray[Any]

# Multiply-adds below which waking the threads costs more than they bring.
WORTH_SHARING = 1 << 18
# Queries in a group, in register tiles; keys in a block.
TILES, BLOCK = 4, 256


@dataclass(frozen=True)
class Options:
    """How scores are made and hidden, and what else is written.

    `scale` multiplies q @ kᵀ. `causal` hides from query i what comes after key i + Tk - Tq. `mask`
    (..., Tq, Tk), of booleans, keeps where it is True; it broadcasts. `ends` (..., Tq) receives
    log(sum(exp(scores))) of each query.
    """

    scale: float
    causal: bool = False
    mask: Array | None = None
    ends: Array | None = None


@functools.cache
def _addresses(char: str) -> Array:
    name = np.dtype(char).name
    tile, pack, _ = routines.addresses(name)
    return np.array([scores.address(name), tile, pack])


def _up(count: int, step: int) -> int:
    return -(-count // step) * step


def _room_size(d: int, e: int, Tk: int, tile: Tile, group: int, block: int) -> int:
    packed = _up(_up(Tk, tile.columns) * d + tile.lanes, 16)
    packed += _up(_up(e, tile.columns) * Tk + tile.lanes, 16)
    return _up(packed + _up(group * d, 16) + group * (block + _up(e, tile.lanes)) + 2 * _up(group, 16) + 64, 64)


@functools.lru_cache(maxsize=1024)
def _offsets(batch: tuple[int, ...], places: tuple[tuple[tuple[int, int], ...], ...]) -> Array:
    """Return, for each array, the elements from its first matrix to that of each job.

    `places` are, for each array, the length and stride (in elements) of each of its batch axes.
    """
    offsets = np.zeros((len(places), *batch), np.int64)
    for row, axes in zip(offsets, places, strict=True):
        for axis, (count, stride) in enumerate(reversed(axes)):
            if count > 1:
                row += (np.arange(count) * stride).reshape(-1, *(1,) * axis)
    return offsets.reshape(len(places), -1)


def _places(array: Array, own: int = 2) -> tuple[tuple[int, int], ...]:
    """Return the batch axes of an array as `_offsets` takes them; its last `own` are not."""
    item = array.itemsize
    return tuple(
        (n, s // item) for n, s in zip(array.shape[:-own], array.strides[:-own], strict=True)
    )


def _first(array: Array) -> Array:
    """Return the first matrix of a batch."""
    first: Array = array[(0,) * (array.ndim - 2)]
    return first


def _spread(mask: Array, sizes: tuple[int, int]) -> Array:
    """Return the mask with its last two axes broadcast to (Tq, Tk)."""
    if mask.shape[-2:] == sizes:
        return mask
    return np.broadcast_to(mask, (*mask.shape[:-2], *sizes))


_NO_MASK = np.ones((1, 1), np.uint8)


@functools.cache
def _no_ends(char: str) -> Array:
    return np.zeros(1, char)


def attention(q: Array, k: Array, v: Array, out: Array, options: Options) -> None:
    """Write attention over the last two axes into `out` (..., Tq, e), batch axes broadcast.

    All have one dtype, float32 or float64, and any strides; `out` shares memory with none.
    """
    if not out.size:
        return
    lengths = np.array([[q.shape[-2]], [k.shape[-2]]])
    mask, ends = options.mask, options.ends
    masks = _NO_MASK if mask is None else _spread(mask, (q.shape[-2], k.shape[-2])).view(np.uint8)
    logs = _no_ends(out.dtype.char) if ends is None else ends
    batch = out.shape[:-2]
    offsets = _offsets(
        batch,
        (
            *(_places(array) for array in (q, k, v, out, masks)),
            _places(logs, 1) if ends is not None else (),
        ),
    )
    _run(q, k, v, out, _first(masks), logs.reshape(-1), offsets, lengths, options)


def _run(
    q: Array,
    k: Array,
    v: Array,
    out: Array,
    mask: Array,
    ends: Array,
    offsets: Array,
    lengths: Array,
    options: Options,
) -> None:
    d, e, Tk = q.shape[-1], v.shape[-1], k.shape[-2]
    tile = tile_shape(out.dtype)
    group = TILES * tile.rows
    block = _up(BLOCK, tile.columns)
    shares = threads.get_num_threads()
    if offsets.shape[1] * q.shape[-2] * Tk * (d + e) < WORTH_SHARING:
        shares = 1
    size = _room_size(d, e, Tk, tile, group, block)
    numbers = (
        d,
        e,
        group,
        block,
        int(options.causal),
        int(options.mask is not None),
        int(options.ends is not None),
    )
    entries.attention(out.dtype.name)(
        _first(q),
        _first(k),
        _first(v),
        _first(out),
        mask,
        ends,
        offsets,
        lengths,
        numbers,
        options.scale * math.log2(math.e),
        _addresses(out.dtype.char),
        _ROOM.rows(shares, size, out.dtype),
    )
