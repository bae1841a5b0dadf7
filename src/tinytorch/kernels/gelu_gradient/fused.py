"""One walk: two reads, one write. The tanh form goes through the sigmoid s = (1 + t) / 2.

gelu is x s(2z), so its slope is s + x s (1 - s) 2z': one exponential in place of a hyperbolic
tangent, as in gelu's own fused rung.
"""

import math

import numpy as np

from tinytorch.fuse import erf, fuse
from tinytorch.kernels.expressions import fused_elements
from tinytorch.kernels.registry import kernel
from tinytorch.ops.gelu import CUBIC, SQRT_2_OVER_PI
from tinytorch.ops.gelu_gradient import SQRT_2_PI


@fuse(rigid=True)
def tanh_form(x, dy):
    square = np.minimum(x * x, 200.0)  # the slope is 0 or 1 there, and x^3 does not overflow
    z = (-2 * SQRT_2_OVER_PI) * x * (1 + CUBIC * square)
    s = 1 / (1 + np.exp(z))
    slope = (2 * SQRT_2_OVER_PI) * (1 + 3 * CUBIC * square)
    return dy * (s + x * s * (1 - s) * slope)


@fuse(rigid=True)
def erf_form(x, dy):
    below = 0.5 + 0.5 * erf(x * math.sqrt(0.5))
    return dy * (below + x * np.exp(-0.5 * x * x) * (1 / SQRT_2_PI))


@kernel("gelu_gradient", above="unfused", reuses_out=True)
def fused(x, dy, out=None, approximate="tanh"):
    form = tanh_form if approximate == "tanh" else erf_form
    return fused_elements("gelu_gradient", form, (x, dy), out, approximate=approximate)
