"""INT8 products from Python, on ndarrays: packed weights, and rows of activations by them.

The caller has checked shapes and types: everything here goes to code that checks nothing.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinytorch.native import threads
from tinytorch.native.aligned import address_of, aligned_empty
from tinytorch.native.gemm.epilogue import ACTIVATIONS
from tinytorch.native.int8 import blocked, packing, routines
from tinytorch.native.int8.dots import Dot
from tinytorch.native.room import Room

Array = NDArray[Any]

# Multiply-adds below which waking the threads costs more than they bring.
WORTH_SHARING = 1 << 20
# The codes of a block of rows, which every panel reads again, stay in the second cache.
_BLOCK_BYTES = 128 << 10
# The most codes whose sum int16 holds for certain.
_SHORT_DEPTH = (2**15 - 1) // 2**7


ROOM = Room()


@dataclass(frozen=True)
class Packed:
    """Weights (K, N) packed for one dot, with what belongs to each of their columns.

    codes: see packing.py; ways: (panels, steps), of summing, for maddubs; sums: (N,) of each
    column's codes, int16 where that holds them, else int32; scales: (N,) float32, or none.
    """

    dot: Dot
    shape: tuple[int, int]
    codes: Array
    ways: Array
    sums: Array
    scales: Array

    @property
    def nbytes(self) -> int:
        """The bytes held."""
        return sum(array.nbytes for array in (self.codes, self.ways, self.sums, self.scales))

    def columns(self, bias: Array | None = None) -> Array:
        """Return what products read of columns: (3, width of whole panels).

        float32 sums, scales and biases (0 where there is none); without scales, int32 sums.
        """
        N, wide = self.shape[1], self.dot.columns
        kind = np.float32 if self.scales.size else np.int32
        columns = aligned_empty((3, -(-N // wide) * wide), kind)
        columns[:, N:] = 0
        columns[0, :N] = self.sums
        columns[1, : self.scales.size] = self.scales
        columns[2, :N] = 0 if bias is None else bias
        return columns

    @property
    def whole_nbytes(self) -> int:
        """The bytes of the codes with every panel as tiles take it."""
        (K, N), dot = self.shape, self.dot
        return -(-N // dot.columns) * dot.columns * dot.padded(K) * dot.code_bytes

    def whole_panels(self) -> Array:
        """Return the codes with every panel as tiles take it, bytes."""
        (K, N), dot = self.shape, self.dot
        if self.whole_nbytes == self.codes.nbytes:
            return self.codes
        panels = -(-N // dot.columns)
        size = dot.padded(K) * dot.columns * dot.code_bytes
        whole = aligned_empty((panels, size), np.uint8)
        for p, panel in enumerate(whole):
            width = min(dot.columns, N - p * dot.columns)
            start = address_of(self.codes) + p * dot.columns * K * dot.code_bytes
            spread = (start, width, K, dot.columns, dot.padded(K), dot.code_bytes)
            packing.spread_panel(*spread, address_of(panel))
        return whole.reshape(-1)


def pack(codes: Array, dot: Dot, scales: Array | None = None) -> Packed:
    """Return int8 codes (K, N), of any strides, packed for a dot; `scales` are (N,) float32."""
    packed, ways = packing.pack(codes, dot)
    kind = np.int16 if len(codes) <= _SHORT_DEPTH else np.int32
    sums = codes.sum(axis=0, dtype=kind)
    steps = np.empty(0, np.float32) if scales is None else np.array(scales, np.float32)
    return Packed(dot, codes.shape, packed, ways, sums, steps)


@dataclass(frozen=True)
class How:
    """What codes are made of an activation row, what they stand for, and what follows the product.

    float32 rows become codes 0 … `top` by `scale` and `zero`, or by each row's own if scale is 0.
    int8 rows get `top` added, which makes them codes of `scale` and `zero`.
    """

    scale: float
    zero: float
    top: int
    activation: str = "none"


@functools.lru_cache(maxsize=4096)
def _cut(M: int, N: int, K: int, dot: Dot, count: int) -> tuple[Any, ...]:
    """Return how a product is cut: the tuples that depend on sizes alone."""
    padded = dot.padded(K)
    row_bytes = padded * dot.code_bytes
    block = max(dot.rows, _BLOCK_BYTES // row_bytes // dot.rows * dot.rows)
    block = min(block, -(-M // dot.rows) * dot.rows)
    grid = blocked.Grid(1, 1)
    if M * N * K >= WORTH_SHARING:
        # Rows are prepared once in each share of columns, so columns are cut only for want of rows.
        high = next(
            n
            for n in range(count, 0, -1)
            if count % n == 0 and (n * max(2 * dot.rows, 16) <= M or n == 1)
        )
        grid = blocked.Grid(high, count // high)
    codes = -(-block * row_bytes // 64) * 64
    numbers = -(-block * 4 // 64) * 64
    finished = dot.finished_rows
    panel = -(-(codes + 2 * numbers + finished * dot.columns * 4) // 64) * 64
    is_whole = padded == K and N % dot.columns == 0
    room = panel + (0 if is_whole else row_bytes * dot.columns)
    return (
        blocked.Shape(M, N, K, padded, dot.code_bytes),
        blocked.Tile(dot.rows, dot.columns, finished, block),
        grid,
        (-(-room // 64) * 64, codes, codes + numbers, codes + 2 * numbers, panel),
    )


@functools.cache
def _routines(
    dot: str, code_bytes: int, source: np.dtype[Any], target: np.dtype[Any]
) -> blocked.Routines:
    return blocked.Routines(*routines.addresses(dot, code_bytes, source.name, target.name))


def multiply(a: Array, packed: Packed, out: Array, how: How, bias: Array | None = None) -> None:
    """Write the product of rows `a` (M, K) and packed weights into `out` (M, N).

    a: float32 or int8, its last axis of neighbours; out: float32 or int32, any strides, sharing no
    memory with a; bias: (N,) float32.
    """
    if not out.size:
        return
    (M, K), N, dot = a.shape, out.shape[1], packed.dot
    shape, tile, grid, parts = _cut(M, N, K, dot, threads.get_num_threads())
    shares = grid.down * grid.along
    columns = packed.columns(bias)
    codes, ways = address_of(packed.codes), address_of(packed.ways)
    about = (address_of(columns), columns.strides[0], dot.steps(K))
    row, column = (stride // out.itemsize for stride in out.strides)
    numbers = blocked.numbers_of(
        blocked.Source(address_of(a), a.strides[0] // a.itemsize, a.itemsize, how.top),
        blocked.Target(address_of(out), row, column, ACTIVATIONS[how.activation]),
        blocked.Weights(codes, K, N, ways, *about),
        shape,
        tile,
        _routines(dot.name, dot.code_bytes, a.dtype, out.dtype),
        grid,
        blocked.Rooms(ROOM.address(shares * parts[0]), *parts),
    )
    blocked.multiply()(numbers.buffer_info()[0], shares, how.scale, how.zero)
