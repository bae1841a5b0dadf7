"""gelu_gradient: dy times the derivative of gelu at x, in its tanh form (the default) or exact.

tanh form, with z = sqrt(2/pi) (x + 0.044715 x^3) and t = tanh z:
(1 + t) / 2 + x/2 (1 - t^2) z'; exact form: Phi(x) + x phi(x), the normal distribution and its
density. `approximate` is "tanh" or "none".
"""

from __future__ import annotations

import math

import numpy as np

from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.dot import paired_sizes
from tinytorch.ops.elementwise import flops_per_element, ladder_sizes
from tinytorch.ops.gelu import CUBIC, FORMS, SQRT_2_OVER_PI
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Tolerance

SQRT_2_PI = math.sqrt(2 * math.pi)

_erf = np.frompyfunc(math.erf, 1, 1)


def same_shape(name: str, shapes: Shapes) -> Shape:
    """Return the shape of an op's inputs; raises ShapeError where they differ."""
    if shapes[0] != shapes[1]:
        raise ShapeError(f"{name} takes arrays of one shape, got {shapes[0]} and {shapes[1]}")
    return shapes[0]


def _reference(x: Array, dy: Array, approximate: str = "tanh") -> Array:
    if approximate == "tanh":
        t = np.tanh(SQRT_2_OVER_PI * (x + CUBIC * x * x * x))
        slope = SQRT_2_OVER_PI * (1 + 3 * CUBIC * x * x)
        return np.asarray(dy * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope))
    below = 0.5 * (1 + np.asarray(_erf(x / math.sqrt(2))).astype(np.float64))
    return np.asarray(dy * (below + x * np.exp(-0.5 * x * x) / SQRT_2_PI))


def _output_shape(shapes: Shapes, approximate: str = "tanh") -> Shape:
    if approximate not in FORMS:
        raise InvalidValue(
            f"gelu_gradient's approximate must be 'tanh' or 'none', got {approximate!r}"
        )
    return same_shape("gelu_gradient", shapes)


def _bound(reference: Array, x: Array, dy: Array, approximate: str = "tanh") -> Array:
    size = np.minimum(np.abs(x), 6.0)
    if approximate == "tanh":
        weight = 0.5 * size * SQRT_2_OVER_PI * (1 + 3 * CUBIC * size * size)
        return np.asarray(np.abs(dy) * (4 + 6 * weight) + np.abs(reference))
    density = size * np.exp(-0.5 * size * size) / SQRT_2_PI
    return np.asarray(np.abs(dy) * (4 + density * (3 + 0.5 * size * size)) + np.abs(reference))


OP = Op(
    name="gelu_gradient",
    signature="(...), (...) -> (...)",
    reference=_reference,
    output_shape=_output_shape,
    # The tanh form: z in 5, tanh, z' in 3, the terms in 5, their sum, times dy: sixteen.
    flops=flops_per_element(16),
    tolerance=Tolerance(
        "t errs by 3 eps and 1 - t^2, which cancels, by 6; it weighs x/2 z', and is 0 for |x| > 6; "
        "in the exact form, erf errs by 3 eps and the density by half x^2 and 3 eps of itself; "
        "two more roundings for the sum and the product",
        _bound,
    ),
    sizes=paired_sizes(),
    ladder=ladder_sizes(2),
    specials=(math.nan, 0.0, -0.0, 1.0, -1.0),
    variants=({"approximate": "tanh"}, {"approximate": "none"}),
)
