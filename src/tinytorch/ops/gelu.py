"""gelu: the Gaussian error linear unit, in its tanh form (the default) or exact, by erf.

Hendrycks and Gimpel, "Gaussian Error Linear Units" (2016):
tanh form 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))); exact form 0.5 x (1 + erf(x / sqrt 2)).
`approximate` is "tanh" or "none", as in PyTorch.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch.errors import InvalidValue
from tinytorch.ops.elementwise import (
    SPECIALS,
    flops_per_element,
    ladder_sizes,
    unary_shape,
    unary_sizes,
)
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Tolerance

SQRT_2_OVER_PI = math.sqrt(2 / math.pi)
CUBIC = 0.044715
FORMS = ("tanh", "none")

_erf = np.frompyfunc(math.erf, 1, 1)


def _reference(x: Array, approximate: str = "tanh") -> Array:
    if approximate == "tanh":
        return np.asarray(0.5 * x * (1 + np.tanh(SQRT_2_OVER_PI * (x + CUBIC * x * x * x))))
    # -inf times 0 is NaN by the formula, in both forms; NumPy's unfused result is the same.
    return np.asarray(0.5 * x * (1 + np.asarray(_erf(x / math.sqrt(2))).astype(np.float64)))


def _output_shape(shapes: Shapes, approximate: str = "tanh") -> Shape:
    if approximate not in FORMS:
        raise InvalidValue(f"gelu's approximate must be 'tanh' or 'none', got {approximate!r}")
    return unary_shape(shapes)


def _bound(reference: Array, x: Array, **params: Any) -> Array:
    return 4.0 * np.abs(x)


OP = Op(
    name="gelu",
    signature="(...) -> (...)",
    reference=_reference,
    output_shape=_output_shape,
    # x*x*x, 0.044715*, +x, *sqrt(2/pi), tanh, 1+, x*, 0.5*: nine, a transcendental counted as one.
    flops=flops_per_element(9),
    tolerance=Tolerance(
        "1 + tanh cancels for negative x, so the error is relative to x, not to the result: half an"
        " eps for each of the last three steps, and tanh's own error (4 ulp at most) halved; the"
        " error in tanh's argument counts at most 0.45 of itself (max of z sech^2 z)",
        _bound,
    ),
    sizes=unary_sizes(),
    ladder=ladder_sizes(1),
    # Both formulas are -inf times 0 at -inf, so a kernel may give NaN there or the limit, 0.
    specials=tuple(v for v in SPECIALS if v != -math.inf),
    variants=({"approximate": "tanh"}, {"approximate": "none"}),
)
