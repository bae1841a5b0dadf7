"""Both steps in one loop, by the fusion compiler: the difference never leaves its register.

Bound by memory, like every short elementwise loop on large arrays, which it shares among threads.
"""

from tinytorch.fuse import fuse
from tinytorch.kernels.expressions import fused_elements
from tinytorch.kernels.registry import CONTIGUOUS, kernel


@fuse(rigid=True)
def expression(x, y):
    difference = x - y
    return difference * difference


@kernel("squared_difference", above="inplace", support=CONTIGUOUS, reuses_out=True)
def fused(x, y, out=None):
    return fused_elements("squared_difference", expression, (x, y), out)
