"""One element at a time, in plain Python with `math`: the definition."""

import math

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel


def _sigmoid(v):
    # NOTE: math.exp raises where NumPy's overflows; below -700 the quotient is 0 but for rounding.
    return 1.0 / (1.0 + math.exp(-v)) if v > -700 else 0.0


@kernel("sigmoid", dtypes=None, interpreted=True)
def naive(x, out=None):
    out = destination("sigmoid", (x,), out)
    out.flat = [v if math.isnan(v) else _sigmoid(v) for v in x.ravel().tolist()]
    return out
