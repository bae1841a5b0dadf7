"""One difference at a time, in plain Python: the definition."""

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.pairs import plain_pairs
from tinytorch.kernels.registry import kernel


@kernel("squared_error_gradient", dtypes=None, interpreted=True)
def naive(x, t, out=None, scale=1.0):
    out = destination("squared_error_gradient", (x, t), out, scale=scale)
    out.flat = [2 * (a - b) * scale for a, b in plain_pairs(x, t)]
    return out
