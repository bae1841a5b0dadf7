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


ROOM = Room()


@dataclass(frozen=True)
class Packed:
    """Weights (K, N) packed for one dot, with what belongs to each of their columns.

    `columns` is 4 rows of as many columns as the panels have: int32 constants and sums of weights,
    then float32 scales and biases, by their bits.
    """

    dot: Dot
    shape: tuple[int, int]
    codes: Array
    starts: Array
    kinds: Array
    columns: Array
    numbers: blocked.Weights

    @property
    def nbytes(self) -> int:
        """The bytes held."""
        arrays = (self.codes, self.starts, self.kinds, self.columns)
        return sum(array.nbytes for array in arrays)


def pack(codes: Array, dot: Dot, scales: Array | None = None) -> Packed:
    """Return int8 codes (K, N), of any strides, packed for a dot; `scales` are (N,) float32."""
    K, N = codes.shape
    packed, starts, kinds, constants = packing.pack(codes, dot)
    columns = aligned_empty((4, constants.size), np.int32)
    columns[0] = constants
    columns[1:] = 0
    columns[1, :N] = codes.sum(axis=0, dtype=np.int32)
    if scales is not None:
        columns[2, :N] = np.asarray(scales, np.float32).view(np.int32)
    panels, places, ways, about = map(address_of, (packed, starts, kinds, columns))
    numbers = blocked.Weights(panels, places, ways, about, columns.strides[0], kinds.shape[1])
    return Packed(dot, (K, N), packed, starts, kinds, columns, numbers)


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
    grid = (1, 1)
    if M * N * K >= WORTH_SHARING:
        # Rows are prepared once in each share of columns, so columns are cut only for want of rows.
        high = next(
            n
            for n in range(count, 0, -1)
            if count % n == 0 and (n * max(2 * dot.rows, 16) <= M or n == 1)
        )
        grid = (high, count // high)
    codes = -(-block * row_bytes // 64) * 64
    numbers = -(-block * 4 // 64) * 64
    finished = dot.finished_rows
    room = (codes + 2 * numbers + finished * dot.columns * 4 + 64) // 64 * 64
    return (
        blocked.Shape(M, N, K, padded, dot.code_bytes),
        blocked.Tile(dot.rows, dot.columns, finished, block),
        grid,
        (room, codes, codes + numbers, codes + 2 * numbers),
    )


@functools.cache
def _routines(dot: str, code_bytes: int, source: str, target: str) -> blocked.Routines:
    return blocked.Routines(*routines.addresses(dot, code_bytes, source, target))


def multiply(a: Array, packed: Packed, out: Array, how: How, columns: Array | None = None) -> None:
    """Write the product of rows `a` (M, K) and packed weights into `out` (M, N).

    a: float32 or int8, its last axis of neighbours; out: float32 or int32, any strides, sharing no
    memory with a. `columns` stand in for those of `packed` where they have biases.
    """
    if not out.size:
        return
    (M, K), N, dot = a.shape, out.shape[1], packed.dot
    shape, tile, grid, parts = _cut(M, N, K, dot, threads.get_num_threads())
    source = blocked.Source(
        address_of(a), a.strides[0] // a.itemsize, a.itemsize, how.scale, how.zero, how.top
    )
    weights = packed.numbers
    if columns is not None:
        weights = weights._replace(columns=address_of(columns))
    row, column = (stride // out.itemsize for stride in out.strides)
    target = blocked.Target(address_of(out), row, column, ACTIVATIONS[how.activation])
    blocked.multiply()(
        source,
        weights,
        target,
        shape,
        tile,
        _routines(dot.name, dot.code_bytes, a.dtype.name, out.dtype.name),
        grid,
        ROOM.address(grid[0] * grid[1] * parts[0]),
        parts,
    )
