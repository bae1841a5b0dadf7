"""One element at a time, in plain Python with `math`: the definition."""

import math

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.gelu import CUBIC, SQRT_2_OVER_PI
from tinytorch.ops.gelu_gradient import SQRT_2_PI


def _tanh_form(v):
    t = math.tanh(SQRT_2_OVER_PI * (v + CUBIC * v * v * v))
    slope = SQRT_2_OVER_PI * (1.0 + 3.0 * CUBIC * v * v)
    return 0.5 * (1.0 + t) + 0.5 * v * (1.0 - t * t) * slope


def _erf_form(v):
    below = 0.5 * (1.0 + math.erf(v / math.sqrt(2.0)))
    return below + v * math.exp(-0.5 * v * v) / SQRT_2_PI


@kernel("gelu_gradient", interpreted=True)
def naive(x, dy, out=None, approximate="tanh"):
    out = destination("gelu_gradient", (x, dy), out, approximate=approximate)
    form = _tanh_form if approximate == "tanh" else _erf_form
    pairs = zip(x.ravel().tolist(), dy.ravel().tolist(), strict=True)
    out.flat = [d * form(v) for v, d in pairs]
    return out
