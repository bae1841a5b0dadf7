"""silu_gradient: dy s (1 + x (1 - s)) with s = 1 / (1 + exp(-x)), the sigmoid."""

from __future__ import annotations

import math

import numpy as np

from tinytorch.ops.dot import paired_sizes
from tinytorch.ops.elementwise import flops_per_element, ladder_sizes
from tinytorch.ops.gelu_gradient import same_shape
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Tolerance


def _reference(x: Array, dy: Array) -> Array:
    s = 1 / (1 + np.exp(-x))
    return np.asarray(dy * s * (1 + x * (1 - s)))


def _output_shape(shapes: Shapes) -> Shape:
    return same_shape("silu_gradient", shapes)


def _bound(reference: Array, x: Array, dy: Array) -> Array:
    s = 1 / (1 + np.exp(-x))
    return np.asarray(np.abs(dy) * s * (5 + 3 * np.abs(x)))


OP = Op(
    name="silu_gradient",
    signature="(...), (...) -> (...)",
    reference=_reference,
    output_shape=_output_shape,
    # -x, exp, 1 +, divide, 1 - s, times x, 1 +, times s, times dy: nine.
    flops=flops_per_element(9),
    tolerance=Tolerance(
        "s errs by 3 eps of itself; 1 - s, which cancels for large x, by as much in all, and is "
        "multiplied by x",
        _bound,
    ),
    sizes=paired_sizes(),
    ladder=ladder_sizes(2),
    specials=(math.nan, 0.0, -0.0, 1.0, -1.0),
)
