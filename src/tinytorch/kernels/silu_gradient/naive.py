"""One element at a time, in plain Python with `math`: the definition."""

import math

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel


def _slope(v):
    s = 1.0 / (1.0 + math.exp(-v)) if v > -700 else v * 0.0
    return s * (1.0 + v * (1.0 - s))


@kernel("silu_gradient", interpreted=True)
def naive(x, dy, out=None):
    out = destination("silu_gradient", (x, dy), out)
    pairs = zip(x.ravel().tolist(), dy.ravel().tolist(), strict=True)
    out.flat = [d * _slope(v) for v, d in pairs]
    return out
