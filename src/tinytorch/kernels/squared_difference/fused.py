"""Both steps in one compiled loop: the difference never leaves its register."""

from tinytorch.kernels.outputs import flat_pass
from tinytorch.kernels.registry import CONTIGUOUS, kernel
from tinytorch.native.codecache import jit


@jit
def loop(x, y, out):
    for i in range(x.size):
        difference = x[i] - y[i]
        out[i] = difference * difference


@kernel("squared_difference", above="inplace", support=CONTIGUOUS, reuses_out=True)
def fused(x, y, out=None):
    return flat_pass("squared_difference", loop, (x, y), out)
