"""One compiled loop. In a single operation nothing is left to fuse, and this rung shows it."""

from tinytorch.kernels.outputs import flat_pass
from tinytorch.kernels.registry import CONTIGUOUS, kernel
from tinytorch.native.codecache import jit


@jit
def loop(x, out):
    zero = out.dtype.type(0)
    for i in range(x.size):
        v = x[i]
        out[i] = zero if v < zero else v


@kernel("relu", above="inplace", support=CONTIGUOUS, reuses_out=True, worthwhile_from=1 << 17)
def fused(x, out=None):
    return flat_pass("relu", loop, (x,), out)
