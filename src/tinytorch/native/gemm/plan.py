"""How a product is cut: blocks from the sizes of the caches, shares from the number of threads.

Shape letters: M, N, K of the product; MR, NR of the register tile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from tinytorch.native.gemm.blocked import DIRECT_DEPTH, IN_PLACE, PACKED, PACKS
from tinytorch.native.gemm.microkernel import Tile, tile_shape


# NOTE: named tuples, for a call of ten microseconds looks its plan up by them: dataclasses hash
# themselves in Python.
class CacheBytes(NamedTuple):
    """What blocks are fitted to, in bytes a core: the second level, and a share of the last.

    The defaults are what nearly every CPU has at least, for where nothing can be read.
    """

    second: int = 256 << 10
    last: int = 1 << 20


@dataclass(frozen=True)
class Blocks:
    """The blocks of a product and whether its operands are packed into them.

    `packs_b` is IN_PLACE, PACKS or PACKED, as the blocked loops take it.
    """

    rows: int
    depth: int
    columns: int
    packs_a: bool
    packs_b: int

    def numbers(self, b_place: int) -> tuple[int, int, int, int, int, int]:
        """Return them as compiled code takes them, with the place of B's block in the room."""
        flags = int(self.packs_a), self.packs_b
        return (self.rows, self.depth, self.columns, *flags, b_place)


def _evenly(size: int, most: int, step: int) -> int:
    """Return the length of equal parts of `size`, each a multiple of `step` and at most `most`."""
    most = max(step, most // step * step)
    parts = max(1, math.ceil(size / most))
    return math.ceil(math.ceil(size / parts) / step) * step


class Layout(NamedTuple):
    """How an operand lies: `is_ready` says that it can be read in place.

    For A, its rows or its columns must be of neighbours; for B, whose rows are loaded as vectors,
    its rows. `is_crowded` says that a step along the other axis is a whole number of pages: then
    the places that a tile reads share a few sets of the cache, and push each other out.
    `is_packed`: it was packed beforehand.
    """

    is_ready: bool
    is_crowded: bool
    is_packed: bool = False


def blocks_for(
    sizes: tuple[int, int, int], dtype: str, caches: CacheBytes, a: Layout, b: Layout
) -> Blocks:
    """Return the blocks for a product of `sizes` (M, N, K).

    They don't depend on the number of threads, so results don't either.
    """
    M, N, K = sizes
    tile = tile_shape(dtype)
    item = 4 if dtype == "float32" else 8
    # Packing pays where an operand is read often enough from a far cache, or lies badly.
    few_rows = tile.rows >= M or (4 * tile.rows >= M and not b.is_crowded)
    b_is_near = K * N * item <= caches.second // 2 and not b.is_crowded
    in_place = b.is_ready and K <= DIRECT_DEPTH and (few_rows or b_is_near)
    packs_b = PACKED if b.is_packed else IN_PLACE if in_place else PACKS
    a_is_near = 2 * tile.columns >= N or M * K * item <= caches.second
    packs_a = not (a.is_ready and a_is_near and not a.is_crowded)
    # Both panels that a tile reads come from the second cache; the deeper they are, the less often
    # C is read and written. The block of A takes half of that cache, that of B half of the last.
    depth = _evenly(max(K, 1), caches.second // 6 // ((tile.rows + tile.columns) * item), 8)
    if packs_b == IN_PLACE:
        depth = max(K, 1)
    rows = _evenly(M, caches.second // 2 // (depth * item), tile.rows)
    # Where one block holds all rows, what is packed of B serves once: it stays in the second cache.
    room = caches.second // 4 if rows >= M and not packs_a else caches.last // 2
    columns = _evenly(N, room // (depth * item), tile.columns)
    return Blocks(rows, depth, columns, packs_a, packs_b)


def grid_for(sizes: tuple[int, int, int], shares: int, tile: Tile) -> tuple[int, int]:
    """Return into how many rows and columns of shares C is cut, so that least must be packed."""
    M, N, _ = sizes
    best, least = (1, 1), math.inf
    for rows in range(1, shares + 1):
        if shares % rows:
            continue
        columns = shares // rows
        high = math.ceil(math.ceil(M / tile.rows) / rows) * tile.rows
        wide = math.ceil(math.ceil(N / tile.columns) / columns) * tile.columns
        # The largest share decides; packing costs about as much as 16 multiply-adds an element.
        cost = high * wide + 16 * (high + wide)
        if cost < least:
            best, least = (rows, columns), cost
    return best


def room_size(blocks: Blocks, dtype: str) -> tuple[int, int]:
    """Return the elements that packed blocks need, and where B's begins."""
    tile = tile_shape(dtype)
    a_size = blocks.rows * blocks.depth + tile.lanes if blocks.packs_a else 0
    b_place = math.ceil(a_size / 64) * 64
    b_size = blocks.columns * blocks.depth + tile.lanes if blocks.packs_b == PACKS else 0
    return math.ceil((b_place + b_size + 64) / 64) * 64, b_place
