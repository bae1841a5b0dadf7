"""One element at a time, in plain Python: the definition."""

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.pairs import plain_pairs
from tinytorch.kernels.registry import kernel


@kernel("multiply", dtypes=None, interpreted=True)
def naive(x, y, out=None):
    out = destination("multiply", (x, y), out)
    out.flat = [a * b for a, b in plain_pairs(x, y)]
    return out
