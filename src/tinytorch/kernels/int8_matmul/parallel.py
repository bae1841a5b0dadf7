"""The compiled loops with the rows shared among the threads."""

from tinytorch.kernels.batches import each_product
from tinytorch.kernels.int8_matmul.compiled import rows_of_product
from tinytorch.kernels.registry import kernel
from tinytorch.native import threads
from tinytorch.native.codecache import jit, prange


@jit(parallel=True)
def _shares(a, b, out, shares):
    M = a.shape[0]
    for share in prange(shares):
        rows_of_product(a, b, out, share * M // shares, (share + 1) * M // shares)


@kernel("int8_matmul", above="compiled", dtypes=("int8",), reuses_out=True, worthwhile_from=1 << 12)
def parallel(a, b, out=None):
    shares = threads.get_num_threads()
    return each_product(
        "int8_matmul", lambda x, y, z: _shares(x, y, z, shares), a, b, out, contiguous=True
    )
