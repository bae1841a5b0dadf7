"""The fused loop, with the elements shared among the threads.

A memory-bound loop gains what the other cores add to the bandwidth, not their arithmetic; below
some tens of thousands of elements, waking the threads costs more than they bring.
"""

from tinytorch.kernels.gelu import fused
from tinytorch.kernels.outputs import flat_pass
from tinytorch.kernels.registry import CONTIGUOUS, kernel
from tinytorch.native import threads
from tinytorch.native.codecache import jit, prange

tanh_loop, erf_loop = fused.tanh_loop, fused.erf_loop


@jit(parallel=True)
def _tanh_shares(x, out, shares):
    n = x.size
    for share in prange(shares):
        first, last = share * n // shares, (share + 1) * n // shares
        tanh_loop(x[first:last], out[first:last])


@jit(parallel=True)
def _erf_shares(x, out, shares):
    n = x.size
    for share in prange(shares):
        first, last = share * n // shares, (share + 1) * n // shares
        erf_loop(x[first:last], out[first:last])


@kernel("gelu", above="fused", support=CONTIGUOUS, reuses_out=True, worthwhile_from=1 << 16)
def parallel(x, out=None, approximate="tanh"):
    loop = _tanh_shares if approximate == "tanh" else _erf_shares
    shares = threads.get_num_threads()
    return flat_pass("gelu", lambda a, b: loop(a, b, shares), (x,), out, approximate=approximate)
