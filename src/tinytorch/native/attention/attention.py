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
from tinytorch.native.attention import backward, entries, scores
from tinytorch.native.gemm import routines
from tinytorch.native.gemm.microkernel import Tile, tile_shape
from tinytorch.native.gemm.product import ROOM

Array = NDArray[Any]

# Multiply-adds below which waking the threads costs more than they bring.
WORTH_SHARING = 1 << 20
# Queries in a group, in register tiles; keys in a block.
TILES, BLOCK = 4, 256
# The same for the gradient, the queries as a number that is rounded down to whole tiles.
GRADIENT_QUERIES, GRADIENT_BLOCK = 64, 128


@dataclass(frozen=True)
class Options:
    """How scores are made and hidden, and what else is written.

    `scale` multiplies q @ kᵀ. `causal` hides from query i what comes after key i + Tk - Tq. `mask`
    (..., Tq, Tk), of booleans, keeps where it is True; it broadcasts. `lengths` are int64 numbers
    of keys, one for each place along the first batch axis. `logsumexp` (..., Tq) receives
    log(sum(exp(scores))) of each query.
    """

    scale: float
    causal: bool = False
    mask: Array | None = None
    lengths: Array | None = None
    logsumexp: Array | None = None


@dataclass(frozen=True)
class _Compiled:
    """What is compiled for one data type, its tile, and what stands for absent logarithms."""

    tile: Tile
    addresses: Array
    forward: Any
    no_logs: Array


@functools.cache
def _compiled(char: str) -> _Compiled:
    # NOTE: by the dtype's letter, for NumPy takes microseconds to spell out its name.
    name = np.dtype(char).name
    tile, pack, _ = routines.addresses(name)
    return _Compiled(
        tile_shape(name),
        np.array([scores.address(name), tile, pack]),
        entries.attention(name),
        np.zeros(1, char),
    )


def _up(count: int, step: int) -> int:
    return -(-count // step) * step


def _room_size(d: int, e: int, Tk: int, tile: Tile, group: int, block: int) -> int:
    packed = _up(_up(Tk, tile.columns) * d + tile.lanes, 16)
    packed += _up(_up(e, tile.columns) * Tk + tile.lanes, 16)
    return _up(
        packed
        + _up(group * d, 16)
        + group * (block + _up(e, tile.lanes))
        + 2 * _up(group, 16)
        + 64,
        64,
    )


_Axes = tuple[tuple[int, ...], tuple[int, ...], int]


@functools.lru_cache(maxsize=1024)
def _offsets(batch: tuple[int, ...], *arrays: _Axes) -> Array:
    """Return, for each array, the elements from its first matrix to that of each job.

    `arrays` are, for each, the lengths and strides of its axes, and how many of these are batch's.
    """
    offsets = np.zeros((len(arrays), *batch), np.int64)
    for row, (lengths, strides, item) in zip(offsets, arrays, strict=True):
        for axis, (count, stride) in enumerate(
            zip(reversed(lengths), reversed(strides), strict=True)
        ):
            if count > 1:
                steps = np.arange(count) * (stride // item)
                row += steps.reshape(-1, *(1,) * axis)
    return offsets.reshape(len(arrays), -1)


def _axes(array: Array) -> _Axes:
    """Return the batch axes of an array of matrices as `_offsets` takes them."""
    return array.shape[:-2], array.strides[:-2], array.itemsize


def _axes_of_logs(logs: Array) -> _Axes:
    return logs.shape[:-1], logs.strides[:-1], logs.itemsize


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
_NO_AXES: _Axes = ((), (), 1)


def attention(q: Array, k: Array, v: Array, out: Array, options: Options) -> None:
    """Write attention over the last two axes into `out` (..., Tq, e), batch axes broadcast.

    All have one dtype, float32 or float64, and any strides; `out` shares memory with none.
    """
    if not out.size:
        return
    Tq, Tk = q.shape[-2], k.shape[-2]
    logs = options.logsumexp
    mask = _NO_MASK if options.mask is None else _spread(options.mask, (Tq, Tk)).view(np.uint8)
    offsets = _offsets(
        out.shape[:-2],
        _axes(q),
        _axes(k),
        _axes(v),
        _axes(out),
        _axes(mask),
        _NO_AXES if logs is None else _axes_of_logs(logs),
    )
    lengths = np.array([[Tq], [Tk]])
    if options.lengths is not None:
        keys = np.repeat(options.lengths, offsets.shape[1] // max(1, options.lengths.size))
        lengths = np.array([np.full_like(keys, Tq), keys])
    _run((_first(q), _first(k), _first(v), _first(out), _first(mask)), offsets, lengths, options)


def ragged(
    q: Array, k: Array, v: Array, starts: tuple[Array, Array], out: Array, options: Options
) -> None:
    """Write attention of sequences that lie one after the other, all heads of each.

    q (Nq, H, d), k (Nk, H, d), v (Nk, H, e), out (Nq, H, e); `starts` are where the sequences begin
    among the queries and among the keys, and where the last one ends: int64, in ascending order.
    `options` may have no mask, and `logsumexp` (H, Nq).
    """
    if not out.size:
        return
    heads = q.shape[1]
    offsets = np.zeros((6, starts[0].size - 1, heads), np.int64)
    for row, array, first in zip(offsets, (q, k, v, out), (0, 1, 1, 0), strict=False):
        row_stride, head_stride = (stride // array.itemsize for stride in array.strides[:2])
        row += starts[first][:-1, None] * row_stride + np.arange(heads) * head_stride
    offsets[5] = starts[0][:-1, None] + np.arange(heads) * q.shape[0]
    lengths = np.array([np.repeat(np.diff(s), heads) for s in starts])
    arrays = (*(array[:, 0] for array in (q, k, v, out)), _NO_MASK)
    _run(arrays, offsets.reshape(6, -1), lengths, options)


def _run(arrays: tuple[Array, ...], offsets: Array, lengths: Array, options: Options) -> None:
    """Compute all jobs; `arrays` are 2-D views from the first number of q, k, v, out and mask."""
    q, _, v, out, _ = arrays
    compiled = _compiled(out.dtype.char)
    logs = compiled.no_logs if options.logsumexp is None else options.logsumexp.reshape(-1)
    most, pairs = int(lengths[1, 0]), int(lengths[0, 0] * lengths[1, 0]) * offsets.shape[1]
    if lengths.shape[1] > 1:
        most, pairs = int(lengths[1].max()), int(np.dot(lengths[0], lengths[1]))
    cut = _cut(out.dtype.char, q.shape[-1], v.shape[-1], most)
    shares = threads.get_num_threads() if pairs * (cut.d + cut.e) >= WORTH_SHARING else 1
    flags = options.causal, options.mask is not None, options.logsumexp is not None
    compiled.forward(
        *arrays,
        logs,
        offsets,
        lengths,
        (cut.d, cut.e, cut.group, cut.block, *map(int, flags)),
        options.scale * _LOG2_E,
        compiled.addresses,
        ROOM.rows(shares, cut.room, out.dtype),
    )


_LOG2_E = math.log2(math.e)


@dataclass(frozen=True)
class _Cut:
    """How jobs are cut, and the numbers that a thread's room must hold."""

    d: int
    e: int
    group: int
    block: int
    room: int


@functools.lru_cache(maxsize=1024)
def _cut(char: str, d: int, e: int, most_keys: int) -> _Cut:
    tile = _compiled(char).tile
    group, block = TILES * tile.rows, _up(BLOCK, tile.columns)
    return _Cut(d, e, group, block, _room_size(d, e, most_keys, tile, group, block))


def _gradient_room(d: int, e: int, Tk: int, tile: Tile, group: int, block: int) -> int:
    d_wide, e_wide, padded = _up(d, tile.lanes), _up(e, tile.lanes), _up(Tk, tile.columns)
    size = _up(padded * d + tile.lanes, 16) + _up(padded * e + tile.lanes, 16)
    size += _up(_up(d, tile.columns) * Tk + tile.lanes, 16) + padded * (d_wide + e_wide)
    size += group * (2 * d_wide + e_wide + 2 * block) + 2 * _up(group, 16)
    return _up(size + 64, 64)


def gradient(
    inputs: tuple[Array, Array, Array, Array, Array],
    outputs: tuple[Array, Array, Array],
    options: Options,
) -> None:
    """Write the gradients of q, k and v for `inputs` (q, k, v, out, dout).

    All batch axes are alike; `options.logsumexp` is what the forward wrote. Any strides.
    """
    q, k, v, out, dout = inputs
    logs = options.logsumexp
    assert logs is not None
    Tq, Tk, d, e = q.shape[-2], k.shape[-2], q.shape[-1], v.shape[-1]
    mask = _NO_MASK if options.mask is None else _spread(options.mask, (Tq, Tk)).view(np.uint8)
    arrays = (q, k, v, out, dout, mask)
    axes = (*map(_axes, arrays), _axes_of_logs(logs), *map(_axes, outputs))
    offsets = _offsets(q.shape[:-2], *axes)
    lengths = np.array([[Tq], [Tk]])
    compiled = _compiled(out.dtype.char)
    tile = compiled.tile
    group = max(1, GRADIENT_QUERIES // tile.rows) * tile.rows
    block = _up(GRADIENT_BLOCK, tile.columns)
    jobs = offsets.shape[1]
    shares = min(jobs, threads.get_num_threads())
    if jobs * Tq * Tk * (d + e) < WORTH_SHARING:
        shares = 1
    size = _gradient_room(d, e, Tk, tile, group, block)
    backward.gradient(out.dtype.name)(
        *map(_first, arrays),
        logs.reshape(-1),
        *map(_first, outputs),
        offsets,
        lengths,
        (d, e, group, block, int(options.causal), int(options.mask is not None)),
        options.scale,
        compiled.addresses,
        ROOM.rows(shares, size, out.dtype),
    )
