"""Tiles over rows, columns and depth, so that three tiles stay in cache while they are used.

Each tile of A and B is fetched from memory once for a whole tile of work: traffic falls from
O(MNK) words to O(MNK / tile). The tile products themselves are the library's, so what is left to
see is the cost of cutting: a Python step and a temporary a tile, and a library that would have
tiled better by itself.
"""

from tinytorch.errors import InvalidValue
from tinytorch.kernels.batches import each_product
from tinytorch.kernels.registry import kernel

TILE = 64


def product_in_tiles(a, b, out, tile):
    """Write a @ b into `out` (all 2-D) tile by tile; tiles need not divide the shape."""
    M, K = a.shape
    N = b.shape[1]
    out[...] = 0
    for i in range(0, M, tile):
        for j in range(0, N, tile):
            block = out[i : i + tile, j : j + tile]
            for k in range(0, K, tile):
                block += a[i : i + tile, k : k + tile] @ b[k : k + tile, j : j + tile]


def check_tile(tile):
    """Return the tile size as an int; raises InvalidValue unless it is an integer of at least 1."""
    if isinstance(tile, bool) or not hasattr(tile, "__index__") or tile < 1:
        raise InvalidValue(f"a tile size must be an int of at least 1, got {tile!r}")
    return int(tile)


@kernel("matmul", above="rows", dtypes=None)
def blocked(a, b, out=None, tile=TILE):
    tile = check_tile(tile)
    return each_product("matmul", lambda x, y, z: product_in_tiles(x, y, z, tile), a, b, out)
