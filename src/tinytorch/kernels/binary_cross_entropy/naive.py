"""One probability at a time, in plain Python: the definition (the sum in float64)."""

import math

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.pairs import plain_pairs
from tinytorch.kernels.registry import kernel
from tinytorch.ops.binary_cross_entropy import LOWEST_LOG


def _term(p, t):
    # NOTE: math.log raises where NumPy's is -inf.
    log_p = max(math.log(p), LOWEST_LOG) if p > 0 else LOWEST_LOG
    log_rest = max(math.log1p(-p), LOWEST_LOG) if p < 1 else LOWEST_LOG
    return -(t * log_p + (1 - t) * log_rest)


@kernel("binary_cross_entropy", dtypes=None, interpreted=True)
def naive(p, t, out=None):
    out = destination("binary_cross_entropy", (p, t), out)
    out[...] = sum(_term(a, b) for a, b in plain_pairs(p, t))
    return out
