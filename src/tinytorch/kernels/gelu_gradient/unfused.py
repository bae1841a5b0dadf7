"""NumPy, one array operation a step: some sixteen passes.

NumPy has no erf, so the exact form calls `math.erf` on one element after another.
"""

import math

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.gelu import CUBIC, SQRT_2_OVER_PI
from tinytorch.ops.gelu_gradient import SQRT_2_PI

_erf = np.frompyfunc(math.erf, 1, 1)


def _tanh_form(x):
    square = x * x
    t = np.tanh(SQRT_2_OVER_PI * (x + CUBIC * square * x))
    slope = SQRT_2_OVER_PI * (1 + 3 * CUBIC * square)
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope


def _erf_form(x):
    below = 0.5 * (1 + np.asarray(_erf(x * math.sqrt(0.5))).astype(x.dtype))
    return below + x * np.exp(-0.5 * x * x) * (1 / SQRT_2_PI)


@kernel("gelu_gradient", above="naive")
def unfused(x, dy, out=None, approximate="tanh"):
    target = destination("gelu_gradient", (x, dy), out, approximate=approximate)
    with np.errstate(over="ignore", invalid="ignore"):
        slope = _tanh_form(x) if approximate == "tanh" else _erf_form(x)
        np.multiply(dy, slope, out=target)
    return target
