"""One product at a time, in plain Python: the definition (sums in float64)."""

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.pairs import plain_pairs
from tinytorch.kernels.registry import kernel


@kernel("dot", dtypes=None, interpreted=True)
def naive(x, y, out=None):
    out = destination("dot", (x, y), out)
    out[...] = sum(a * b for a, b in plain_pairs(x, y))
    return out
