"""How a product is cut: blocks from the sizes of the caches, shares from the number of threads.

Shape letters: M, N, K of the product; MR, NR of the register tile.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tinytorch.native.gemm.blocked import DIRECT_DEPTH
from tinytorch.native.gemm.microkernel import Tile, tile_shape


@dataclass(frozen=True)
class CacheBytes:
    """What blocks are fitted to, in bytes a core: first and second level, and a share of the last.

    The defaults are what nearly every CPU has at least, for where nothing can be read.
    """

    first: int = 32 << 10
    second: int = 256 << 10
    last: int = 1 << 20


@dataclass(frozen=True)
class Blocks:
    """The blocks of a product and whether its operands are packed into them."""

    rows: int
    depth: int
    columns: int
    packs_a: bool
    packs_b: bool

    def numbers(self, b_place: int) -> tuple[int, int, int, int, int, int]:
        """Return them as compiled code takes them, with the place of B's block in the room."""
        flags = int(self.packs_a), int(self.packs_b)
        return (self.rows, self.depth, self.columns, *flags, b_place)


def _evenly(size: int, most: int, step: int) -> int:
    """Return the length of equal parts of `size`, each a multiple of `step` and at most `most`."""
    most = max(step, most // step * step)
    parts = max(1, math.ceil(size / most))
    return math.ceil(math.ceil(size / parts) / step) * step


def blocks_for(
    sizes: tuple[int, int, int], dtype: str, caches: CacheBytes, b_lies_ready: bool
) -> Blocks:
    """Return the blocks for a product of `sizes` (M, N, K).

    They don't depend on the number of threads, so results don't either. `b_lies_ready` says that
    B's columns are neighbours in memory, as they must be to stay unpacked.
    """
    M, N, K = sizes
    tile = tile_shape(dtype)
    item = 4 if dtype == "float32" else 8
    direct = b_lies_ready and K <= DIRECT_DEPTH
    # Packing an operand pays once the other has a few panels, each of which reads it again.
    packs_b = not (direct and M <= 4 * tile.rows)
    packs_a = not (K <= DIRECT_DEPTH and N <= 2 * tile.columns)
    depth = _evenly(max(K, 1), _depth(caches, tile, item), 8)
    rows = _evenly(M, caches.second // 2 // (depth * item), tile.rows)
    columns = _evenly(N, caches.last // (depth * item), tile.columns)
    return Blocks(rows, depth, columns, packs_a, packs_b)


def _depth(caches: CacheBytes, tile: Tile, item: int) -> int:
    """Return the depth at which a panel of B fills the first cache."""
    return max(64, caches.first // (tile.columns * item))


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
    b_size = blocks.columns * blocks.depth + tile.lanes if blocks.packs_b else 0
    return math.ceil((b_place + b_size + 64) / 64) * 64, b_place
