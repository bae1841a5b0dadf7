"""One difference at a time, in plain Python: the definition (the sum in float64)."""

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.pairs import plain_pairs
from tinytorch.kernels.registry import kernel


@kernel("squared_error", dtypes=None, interpreted=True)
def naive(x, t, out=None):
    out = destination("squared_error", (x, t), out)
    out[...] = sum((a - b) * (a - b) for a, b in plain_pairs(x, t))
    return out
