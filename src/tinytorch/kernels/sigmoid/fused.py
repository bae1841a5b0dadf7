"""The same expression, fused: one read, one write, one vector exponential."""

import numpy as np

from tinytorch.fuse import fuse
from tinytorch.kernels.expressions import fused_elements
from tinytorch.kernels.registry import kernel


@fuse(rigid=True)
def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@kernel("sigmoid", above="unfused", reuses_out=True, worthwhile_from=1 << 9)
def fused(x, out=None):
    return fused_elements("sigmoid", sigmoid, (x,), out)
