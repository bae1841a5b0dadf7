"""One element at a time, in plain Python with `math`: the definition."""

import math

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel


@kernel("tanh", dtypes=None, interpreted=True)
def naive(x, out=None):
    out = destination("tanh", (x,), out)
    out.flat = list(map(math.tanh, x.ravel().tolist()))
    return out
