"""C = activation(alpha * A @ B + beta * C + bias) + residual, from Python, on ndarrays.

The caller has checked shapes and types: everything here goes to code that checks nothing.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinytorch.native import threads
from tinytorch.native.gemm import entries, routines
from tinytorch.native.gemm.epilogue import ACTIVATIONS
from tinytorch.native.gemm.microkernel import tile_shape
from tinytorch.native.gemm.plan import CacheBytes, blocks_for, grid_for, room_size
from tinytorch.native.simd import aligned_empty

Array = NDArray[Any]

# Multiply-adds below which waking the threads costs more than they bring.
WORTH_SHARING = 1 << 20


@dataclass(frozen=True)
class Extras:
    """What a product may do besides: `bias` is (N,), `residual` has the output's shape."""

    alpha: float = 1.0
    beta: float = 0.0
    bias: Array | None = None
    residual: Array | None = None
    activation: str = "none"


PLAIN = Extras()


class _Room(threading.local):
    """Scratch memory of each Python thread, kept from call to call: fresh pages would cost more."""

    def __init__(self) -> None:
        self.bytes = np.empty(0, np.uint8)

    def rows(self, count: int, size: int, dtype: Any) -> Array:
        """Return `count` rows of `size` elements, aligned to 64 bytes."""
        needed = count * size * dtype.itemsize
        if self.bytes.size < needed:
            self.bytes = aligned_empty(needed, np.uint8)
        rows: Array = self.bytes[:needed].view(dtype).reshape(count, size)
        return rows


_ROOM = _Room()


_SMALL: dict[str, tuple[Any, int, int]] = {}


def _small_entry(char: str) -> tuple[Any, int, int]:
    name = np.dtype(char).name
    tile, pack, _ = routines.addresses(name)
    _SMALL[char] = (entries.small(name), tile, pack)
    return _SMALL[char]


def small_product(a: Array, b: Array, out: Array) -> bool:
    """Write out = a @ b for small 2-D operands and return True, or do nothing and return False.

    False is also the answer to whatever does not fit: types, shapes, an `out` that overlaps.
    """
    if (char := a.dtype.char) not in "fd":
        return False
    run, tile, pack = _SMALL.get(char) or _small_entry(char)
    try:
        return run(a, b, out, tile, pack)  # type: ignore[no-any-return]
    except (TypeError, ValueError):  # not of one dtype, or read-only
        return False


def multiply(a: Array, b: Array, out: Array, caches: CacheBytes, extras: Extras = PLAIN) -> None:
    """Write the product over the last two axes into `out`, batch axes broadcast.

    `out` has the full shape, may have any strides, and shares memory with no operand.
    """
    if not out.size:
        return
    lies_across = out.strides[-1] != out.itemsize and out.strides[-2] == out.itemsize
    if lies_across and extras.bias is None:
        # The transposed product writes neighbours: C^T = B^T A^T.
        other = None if extras.residual is None else extras.residual.mT
        extras = Extras(extras.alpha, extras.beta, None, other, extras.activation)
        a, b, out = b.mT, a.mT, out.mT
    K = a.shape[-1]
    M, N = out.shape[-2:]
    name = out.dtype.name
    ready = b.strides[-1] == b.itemsize or N == 1
    blocks = blocks_for((M, N, K), name, caches, ready)
    residual = np.empty((0, 0), out.dtype)
    others = [a, b, out]
    if extras.residual is not None:
        aligned = extras.residual.strides[-1] == out.itemsize
        residual = extras.residual if aligned else np.ascontiguousarray(extras.residual)
        others.append(residual)
    bias = np.empty(0, out.dtype) if extras.bias is None else np.ascontiguousarray(extras.bias)
    offsets = _offsets(out.shape[:-2], others)
    shares, grid = _shares((M, N, K), offsets.shape[1], name)
    size, b_place = room_size(blocks, name)
    entries.shared(name)(
        _first(a),
        _first(b),
        _first(out),
        bias,
        _first(residual),
        offsets,
        (extras.alpha, extras.beta),
        ACTIVATIONS[extras.activation],
        blocks.numbers(b_place),
        grid,
        routines.addresses(name),
        _ROOM.rows(shares, size, out.dtype),
    )


def _first(array: Array) -> Array:
    """Return the first matrix of a batch."""
    first: Array = array[(0,) * (array.ndim - 2)]
    return first


def _offsets(batch: tuple[int, ...], arrays: list[Array]) -> Array:
    """Return, for a, b, out and the residual, the elements from the first matrix to each one."""
    offsets = np.zeros((4, *batch), np.int64)
    for row, array in zip(offsets, arrays, strict=False):
        own = array.shape[:-2]
        for axis, (count, stride) in enumerate(zip(own[::-1], array.strides[-3::-1], strict=False)):
            if count > 1:
                steps = np.arange(count) * (stride // array.itemsize)
                row += steps.reshape(-1, *(1,) * axis)
    return offsets.reshape(4, -1)


def _shares(sizes: tuple[int, int, int], batch: int, dtype: str) -> tuple[int, tuple[int, int]]:
    """Return the number of shares, and the grid into which each product of the batch is cut."""
    count = threads.get_num_threads()
    if count == 1 or batch * sizes[0] * sizes[1] * max(1, sizes[2]) < WORTH_SHARING:
        return 1, (1, 1)
    if batch >= count:
        return count, (1, 1)
    return count, grid_for(sizes, count, tile_shape(dtype))
