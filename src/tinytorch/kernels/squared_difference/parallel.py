"""The fused loop, with the elements shared among the threads.

Bound by memory, like every short elementwise loop on large arrays.
"""

from tinytorch.kernels.outputs import flat_pass
from tinytorch.kernels.registry import CONTIGUOUS, kernel
from tinytorch.kernels.squared_difference.fused import loop
from tinytorch.native import threads
from tinytorch.native.codecache import jit, prange


@jit(parallel=True)
def _shares(x, y, out, shares):
    n = out.size
    for share in prange(shares):
        first, last = share * n // shares, (share + 1) * n // shares
        loop(x[first:last], y[first:last], out[first:last])


@kernel(
    "squared_difference",
    above="fused",
    support=CONTIGUOUS,
    reuses_out=True,
    worthwhile_from=1 << 19,
)
def parallel(x, y, out=None):
    shares = threads.get_num_threads()
    return flat_pass(
        "squared_difference",
        lambda a, b, c: _shares(a, b, c, shares),
        (
            x,
            y,
        ),
        out,
    )
