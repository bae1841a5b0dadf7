"""The reordered loops compiled to machine code.

No interpreter between the multiply-adds: the inner loop becomes a few vector instructions. It is
bound by memory again: every inner step reads a row of B and reads and writes a row of C, so one
loaded vector serves one multiply-add. Costs a compilation at first use, kept on disk.
"""

from tinytorch.kernels.batches import each_product
from tinytorch.kernels.registry import kernel
from tinytorch.native.codecache import jit


@jit
def product(a, b, out):
    M, K = a.shape
    N = b.shape[1]
    for i in range(M):
        for j in range(N):
            out[i, j] = 0
        for k in range(K):
            factor = a[i, k]
            for j in range(N):
                out[i, j] += factor * b[k, j]


@kernel("matmul", above="blocked", reuses_out=True)
def compiled(a, b, out=None):
    return each_product("matmul", product, a, b, out, contiguous=True)
