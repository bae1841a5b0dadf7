"""C = activation(alpha * A @ B + beta * C + bias) + residual, from Python, on ndarrays.

The caller has checked shapes and types: everything here goes to code that checks nothing.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinytorch.native import threads
from tinytorch.native.gemm import entries, routines
from tinytorch.native.gemm.epilogue import ACTIVATIONS
from tinytorch.native.gemm.microkernel import tile_shape
from tinytorch.native.gemm.plan import CacheBytes, Layout, blocks_for, grid_for, room_size
from tinytorch.native.gemm.prepacked import PackedMatrix
from tinytorch.native.gemm.small import CANNOT, DONE, FITS, small
from tinytorch.native.room import Room

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

__all__ = ["CANNOT", "DONE", "FITS", "PLAIN", "SMALL", "Extras", "multiply"]


ROOM = Room()


@dataclass(frozen=True)
class _Compiled:
    """What is compiled for one data type, and what stands for an absent bias and residual."""

    name: str
    addresses: tuple[int, int, int]
    no_bias: Array
    no_residual: Array

    # NOTE: loaded when it is first called: a process of small products doesn't wait for it.
    @functools.cached_property
    def shared(self) -> Any:
        """The general product."""
        return entries.shared(self.name)


@functools.cache
def _compiled(char: str) -> _Compiled:
    # NOTE: by the dtype's letter, for NumPy takes two microseconds to spell out its name.
    dtype = np.dtype(char)
    addresses = routines.addresses(dtype.name)
    return _Compiled(dtype.name, addresses, np.empty(0, dtype), np.empty((0, 0), dtype))


class _Small(dict[str, Callable[..., int]]):
    """The small products by the letter of their dtype, compiled when one is first asked for."""

    def __missing__(self, char: str) -> Callable[..., int]:
        if char not in "fd":
            raise KeyError(char)
        self[char] = small(np.dtype(char).name)
        return self[char]


# `SMALL[a.dtype.char](a, b, out)` writes out = a @ b for small 2-D operands and returns DONE, or
# does nothing and returns FITS, where shapes and memory are in order but the product is not small,
# or 0, where something is in the way; or KeyError for a dtype that there is no product of.
SMALL = _Small()


def multiply(
    a: Array,
    b: Array | PackedMatrix,
    out: Array,
    caches: CacheBytes,
    extras: Extras = PLAIN,
) -> None:
    """Write the product over the last two axes into `out`, batch axes broadcast.

    `out` has the full shape, may have any strides, and shares memory with no operand.
    """
    if not out.size:
        return
    is_packed = isinstance(b, PackedMatrix)
    b = b.view if isinstance(b, PackedMatrix) else b
    bias, residual = extras.bias, extras.residual
    if _lies_across(out) and bias is None and not is_packed:
        # The transposed product writes neighbours: C^T = B^T A^T.
        a, b, out = b.mT, a.mT, out.mT
        residual = None if residual is None else residual.mT
    if residual is not None:
        residual = _with_rows_ready(residual)
    call = _call(
        (a.shape, a.strides, b.shape, b.strides, out.shape, out.strides),
        None if residual is None else (residual.shape, residual.strides),
        is_packed,
        extras.activation,
        out.dtype.char,
        caches,
        threads.get_num_threads(),
    )
    compiled = call.compiled
    compiled.shared(
        _first(a),
        _first(b),
        _first(out),
        compiled.no_bias if bias is None else np.ascontiguousarray(bias),
        compiled.no_residual if residual is None else _first(residual),
        call.numbers,
        extras.alpha,
        extras.beta,
        ROOM.rows(call.shares, call.room, out.dtype),
    )


_PAGE_BYTES = 4096
# NOTE: made beforehand: a frozen dataclass takes a microsecond to make.
_LAYOUTS = {(r, c): Layout(r, c) for r in (False, True) for c in (False, True)}
_PACKED = Layout(True, False, is_packed=True)


# An operand's shape and strides in bytes.
_Lie = tuple[tuple[int, ...], tuple[int, ...]]


def _layout(strides: tuple[int, ...], item: int, *, rows_only: bool = False) -> Layout:
    row, column = strides[-2:]
    ready = column == item or (row == item and not rows_only)
    far = row if column == item else column
    return _LAYOUTS[ready, far != 0 and far % _PAGE_BYTES == 0]


def _lies_across(out: Array) -> bool:
    row, column = out.strides[-2:]
    return column != out.itemsize and row == out.itemsize


def _with_rows_ready(array: Array) -> Array:
    """Return the array, copied unless the elements of a row are neighbours."""
    return array if array.strides[-1] == array.itemsize else np.ascontiguousarray(array)


def _first(array: Array) -> Array:
    """Return the first matrix of a batch."""
    if array.ndim == 2:
        return array
    first: Array = array[(0,) * (array.ndim - 2)]
    return first


_NO_OFFSETS = np.zeros((4, 1), np.int64)


def _offsets(batch: tuple[int, ...], item: int, lies: list[_Lie]) -> Array:
    """Return, for a, b, out and the residual, the elements from the first matrix to each one."""
    if not batch:
        return _NO_OFFSETS
    offsets = np.zeros((4, *batch), np.int64)
    for row, (shape, strides) in zip(offsets, lies, strict=False):
        own, apart = shape[:-2], strides[:-2]
        for axis, (count, stride) in enumerate(zip(own[::-1], apart[::-1], strict=True)):
            if count > 1:
                steps = np.arange(count) * (stride // item)
                row += steps.reshape(-1, *(1,) * axis)
    return offsets.reshape(4, -1)


@dataclass(frozen=True)
class _Call:
    """How products of one kind are called: `numbers` as compiled code takes them.

    Each of the `shares` packs into `room` elements.
    """

    compiled: _Compiled
    numbers: NDArray[np.int64]
    shares: int
    room: int


# NOTE: whatever does not depend on the numbers in the arrays is found out once, for it takes longer
# than a small batch does; the arguments are what NumPy gives at once.
@functools.lru_cache(maxsize=512)
def _call(
    lies: tuple[tuple[int, ...], ...],
    residual: _Lie | None,
    is_packed: bool,
    activation: str,
    char: str,
    caches: CacheBytes,
    count: int,
) -> _Call:
    compiled = _compiled(char)
    item = compiled.no_bias.itemsize
    a, b, out = (lies[0], lies[1]), (lies[2], lies[3]), (lies[4], lies[5])
    operands = [a, b, out] if residual is None else [a, b, out, residual]
    offsets = _offsets(out[0][:-2], item, operands)
    batch = offsets.shape[1]
    sizes = (out[0][-2], out[0][-1], a[0][-1])
    b_layout = _PACKED if is_packed else _layout(b[1], item, rows_only=True)
    blocks = blocks_for(sizes, compiled.name, caches, _layout(a[1], item), b_layout)
    room, b_place = room_size(blocks, compiled.name)
    shares, grid = count, (1, 1)
    if batch * math.prod(sizes) < WORTH_SHARING:
        shares = 1
    elif batch < count:
        grid = grid_for(sizes, count, tile_shape(compiled.name))
    known = (*blocks.numbers(b_place), *grid, ACTIVATIONS[activation], *compiled.addresses, batch)
    return _Call(compiled, np.concatenate([known, offsets.ravel()]), shares, room)
