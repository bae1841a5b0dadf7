"""The compiled loops in tiles, with four steps of depth at a time.

Depth and width are cut so that a panel of B stays in the second-level cache while every row of A
passes over it, and four rows of B are added up for each load and store of C: traffic a
multiply-add falls from three vectors to one and a half. Costs two more loops and a remainder.
"""

from tinytorch.kernels.batches import each_product
from tinytorch.kernels.registry import kernel
from tinytorch.native.codecache import jit

DEPTH, WIDTH = 256, 512


@jit
def _add_four(row, b, k, first, f0, f1, f2, f3):
    # NOTE: as slices of one row each, these vectorise; indexed as b[k, j], they do not.
    last = first + row.size
    b0, b1, b2, b3 = (
        b[k, first:last],
        b[k + 1, first:last],
        b[k + 2, first:last],
        b[k + 3, first:last],
    )
    for j in range(row.size):
        row[j] += (f0 * b0[j] + f1 * b1[j]) + (f2 * b2[j] + f3 * b3[j])


@jit
def _add_one(row, b_row, factor):
    for j in range(row.size):
        row[j] += factor * b_row[j]


@jit
def rows_of_product(a, b, out, first, last):
    """Write rows first … last of a @ b into `out`."""
    K = a.shape[1]
    N = b.shape[1]
    out[first:last] = 0
    for k0 in range(0, K, DEPTH):
        k1 = min(k0 + DEPTH, K)
        for j0 in range(0, N, WIDTH):
            j1 = min(j0 + WIDTH, N)
            for i in range(first, last):
                row = out[i, j0:j1]
                k = k0
                while k + 4 <= k1:
                    _add_four(row, b, k, j0, a[i, k], a[i, k + 1], a[i, k + 2], a[i, k + 3])
                    k += 4
                while k < k1:
                    _add_one(row, b[k, j0:j1], a[i, k])
                    k += 1


def _product(a, b, out):
    rows_of_product(a, b, out, 0, a.shape[0])


@kernel("matmul", above="compiled", reuses_out=True)
def tiled(a, b, out=None):
    return each_product("matmul", _product, a, b, out, contiguous=True)
