"""One probability at a time, in plain Python: the definition."""

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.pairs import plain_pairs
from tinytorch.kernels.registry import kernel
from tinytorch.ops.binary_cross_entropy_gradient import LEAST


@kernel("binary_cross_entropy_gradient", dtypes=None, interpreted=True)
def naive(p, t, out=None, scale=1.0):
    out = destination("binary_cross_entropy_gradient", (p, t), out, scale=scale)
    out.flat = [(a - b) / max(a * (1 - a), LEAST) * scale for a, b in plain_pairs(p, t)]
    return out
