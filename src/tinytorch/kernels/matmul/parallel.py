"""The tiled loops with the rows shared among the threads.

Rows of C are independent, so each thread takes its own share and nothing is locked. Arithmetic
scales with the cores; memory bandwidth is shared, and starting the threads costs microseconds, so
small products lose.
"""

from tinytorch.kernels.batches import each_product
from tinytorch.kernels.matmul.tiled import rows_of_product
from tinytorch.kernels.registry import kernel
from tinytorch.native import threads
from tinytorch.native.codecache import jit, prange


@jit(parallel=True)
def product(a, b, out, shares):
    M = a.shape[0]
    for share in prange(shares):
        rows_of_product(a, b, out, share * M // shares, (share + 1) * M // shares)


def _product(a, b, out):
    product(a, b, out, threads.get_num_threads())


@kernel("matmul", above="tiled", reuses_out=True, worthwhile_from=1 << 12)
def parallel(a, b, out=None):
    return each_product("matmul", _product, a, b, out, contiguous=True)
