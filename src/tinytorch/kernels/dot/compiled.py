"""One compiled pass with several partial sums in vector registers: nothing is written back.

The sum must be allowed to change its order: in the order of the elements, each addition would wait
four cycles for the one before it.
"""

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import CONTIGUOUS, kernel
from tinytorch.native.codecache import REASSOCIATE, jit


@jit(flags=REASSOCIATE)
def loop(x, y, zero):
    total = zero
    for i in range(x.size):
        total += x[i] * y[i]
    return total


@kernel("dot", above="vectorised", support=CONTIGUOUS)
def compiled(x, y, out=None):
    out = destination("dot", (x, y), out)
    out[...] = loop(x.reshape(-1), y.reshape(-1), x.dtype.type(0))
    return out
