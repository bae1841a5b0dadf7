"""One element at a time, in plain Python with `math`: the definition.

Arithmetic is in Python floats (float64) and rounded once, so it is exact and slow: some hundred
nanoseconds an element, nearly all of them the interpreter's.
"""

import math

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.gelu import CUBIC, SQRT_2_OVER_PI


def _tanh_form(v):
    return 0.5 * v * (1.0 + math.tanh(SQRT_2_OVER_PI * (v + CUBIC * v * v * v)))


def _erf_form(v):
    return 0.5 * v * (1.0 + math.erf(v / math.sqrt(2.0)))


@kernel("gelu", interpreted=True)
def naive(x, out=None, approximate="tanh"):
    out = destination("gelu", (x,), out, approximate=approximate)
    form = _tanh_form if approximate == "tanh" else _erf_form
    out.flat = [form(v) for v in x.ravel().tolist()]
    return out
