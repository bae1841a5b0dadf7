"""One difference at a time, in plain Python: the definition (sums in float64)."""

import math

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.pairs import plain_pairs
from tinytorch.kernels.registry import kernel


@kernel("euclidean_distance", interpreted=True)
def naive(x, y, out=None):
    out = destination("euclidean_distance", (x, y), out)
    out[...] = math.sqrt(sum((a - b) * (a - b) for a, b in plain_pairs(x, y)))
    return out
