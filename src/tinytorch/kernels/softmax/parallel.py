"""The fused rows, shared among the threads; a row is never split."""

from tinytorch.kernels.outputs import row_pass
from tinytorch.kernels.registry import CONTIGUOUS, kernel
from tinytorch.kernels.softmax.fused import rows_loop
from tinytorch.native import threads
from tinytorch.native.codecache import jit, prange


@jit(parallel=True)
def _shares(x, out, shares):
    rows = x.shape[0]
    for share in prange(shares):
        rows_loop(x, out, share * rows // shares, (share + 1) * rows // shares)


@kernel("softmax", above="fused", support=CONTIGUOUS, reuses_out=True, worthwhile_from=1 << 15)
def parallel(x, out=None):
    shares = threads.get_num_threads()
    return row_pass("softmax", lambda a, b: _shares(a, b, shares), x, out)
