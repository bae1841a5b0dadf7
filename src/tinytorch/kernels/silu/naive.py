"""One element at a time, in plain Python with `math`: the definition."""

import math

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel


def _silu(v):
    # NOTE: math.exp raises where NumPy's overflows; below -700 the quotient is 0 but for rounding.
    return v / (1.0 + math.exp(-v)) if v > -700 else v * 0.0


@kernel("silu", interpreted=True)
def naive(x, out=None):
    out = destination("silu", (x,), out)
    out.flat = [v if math.isnan(v) else _silu(v) for v in x.ravel().tolist()]
    return out
