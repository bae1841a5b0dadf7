"""One compiled loop. Nothing is left to fuse in a single operation: what helps are our own
polynomials without a branch, at the full width of the vector registers and on all threads.
"""

import numpy as np

from tinytorch.fuse import fuse
from tinytorch.kernels.expressions import fused_elements
from tinytorch.kernels.registry import kernel


@fuse(rigid=True)
def exp(x):
    return np.exp(x)


@fuse(rigid=True)
def log(x):
    return np.log(x)


@fuse(rigid=True)
def sin(x):
    return np.sin(x)


@fuse(rigid=True)
def cos(x):
    return np.cos(x)


_EXPRESSIONS = {"exp": exp, "log": log, "sin": sin, "cos": cos}


@kernel("elementary", above="unfused", reuses_out=True, worthwhile_from=1 << 12)
def fused(x, out=None, kind="exp"):
    return fused_elements("elementary", _EXPRESSIONS[kind], (x,), out, kind=kind)
