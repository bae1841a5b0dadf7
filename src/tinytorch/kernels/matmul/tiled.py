"""The compiled loops in tiles: four rows of C and four steps of depth at a time.

Depth and width are cut so that a panel of B stays in the second-level cache while all rows of A
pass over it. In the innermost loop four vectors of B serve four rows of C, so a multiply-add costs
three quarters of a load or store where `compiled` pays three. Costs remainders on two sides.
"""

from tinytorch.kernels.batches import each_product
from tinytorch.kernels.registry import kernel
from tinytorch.native.codecache import jit

DEPTH, WIDTH = 256, 512


@jit
def _add_four_by_four(a, b, out, i, k, first, last):
    """Add a[i : i+4, k : k+4] @ b[k : k+4, first : last] to out[i : i+4, first : last]."""
    # NOTE: rows taken as slices vectorise; indexed as b[k, j] in the loop, they do not.
    b0, b1, b2, b3 = (
        b[k, first:last],
        b[k + 1, first:last],
        b[k + 2, first:last],
        b[k + 3, first:last],
    )
    c0, c1, c2, c3 = (
        out[i, first:last],
        out[i + 1, first:last],
        out[i + 2, first:last],
        out[i + 3, first:last],
    )
    a00, a01, a02, a03 = a[i, k], a[i, k + 1], a[i, k + 2], a[i, k + 3]
    a10, a11, a12, a13 = a[i + 1, k], a[i + 1, k + 1], a[i + 1, k + 2], a[i + 1, k + 3]
    a20, a21, a22, a23 = a[i + 2, k], a[i + 2, k + 1], a[i + 2, k + 2], a[i + 2, k + 3]
    a30, a31, a32, a33 = a[i + 3, k], a[i + 3, k + 1], a[i + 3, k + 2], a[i + 3, k + 3]
    for j in range(last - first):
        v0, v1, v2, v3 = b0[j], b1[j], b2[j], b3[j]
        c0[j] += (a00 * v0 + a01 * v1) + (a02 * v2 + a03 * v3)
        c1[j] += (a10 * v0 + a11 * v1) + (a12 * v2 + a13 * v3)
        c2[j] += (a20 * v0 + a21 * v1) + (a22 * v2 + a23 * v3)
        c3[j] += (a30 * v0 + a31 * v1) + (a32 * v2 + a33 * v3)


@jit
def _add_one_by_one(row, b_row, factor):
    for j in range(row.size):
        row[j] += factor * b_row[j]


@jit
def rows_of_product(a, b, out, first, last):
    """Write rows first … last of a @ b into `out`."""
    K = a.shape[1]
    N = b.shape[1]
    whole = last - (last - first) % 4
    out[first:last] = 0
    for k0 in range(0, K, DEPTH):
        k1 = min(k0 + DEPTH, K)
        k_whole = k1 - (k1 - k0) % 4
        for j0 in range(0, N, WIDTH):
            j1 = min(j0 + WIDTH, N)
            for i in range(first, whole, 4):
                for k in range(k0, k_whole, 4):
                    _add_four_by_four(a, b, out, i, k, j0, j1)
            for i in range(first, last):
                for k in range(k_whole if i < whole else k0, k1):
                    _add_one_by_one(out[i, j0:j1], b[k, j0:j1], a[i, k])


def _product(a, b, out):
    rows_of_product(a, b, out, 0, a.shape[0])


@kernel("matmul", above="compiled", reuses_out=True)
def tiled(a, b, out=None):
    return each_product("matmul", _product, a, b, out, contiguous=True)
