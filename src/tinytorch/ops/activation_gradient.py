"""activation_gradient: dy times the slope of an activation, told from the activation's output y.

`activation` is "sigmoid", y (1 - y); "tanh", 1 - y^2; or "relu", 1 above 0 and 0 elsewhere. What
the activation took need not be kept for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinytorch.errors import UnknownName
from tinytorch.ops.dot import paired_sizes
from tinytorch.ops.elementwise import ladder_sizes
from tinytorch.ops.gelu_gradient import same_shape
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Tolerance

SLOPES: dict[str, Callable[[Array], Array]] = {
    "sigmoid": lambda y: y * (1 - y),
    "tanh": lambda y: 1 - y * y,
    "relu": lambda y: np.where(y > 0, 1.0, 0.0),
}


def _reference(y: Array, dy: Array, activation: str = "sigmoid") -> Array:
    return np.asarray(dy * SLOPES[activation](y))


def _output_shape(shapes: Shapes, activation: str = "sigmoid") -> Shape:
    if activation not in SLOPES:
        raise UnknownName("activation of activation_gradient", activation, SLOPES)
    return same_shape("activation_gradient", shapes)


def _flops(shapes: Shapes, activation: str = "sigmoid") -> int:
    return (2 if activation == "relu" else 3) * math.prod(shapes[0])


def _bound(reference: Array, y: Array, dy: Array, activation: str = "sigmoid") -> Array:
    if activation == "sigmoid":
        return np.asarray(2 * np.abs(reference))
    if activation == "tanh":
        return np.asarray(np.abs(dy) * y * y + 2 * np.abs(reference))
    return np.zeros_like(reference)


OP = Op(
    name="activation_gradient",
    signature="(...), (...) -> (...)",
    reference=_reference,
    output_shape=_output_shape,
    flops=_flops,
    tolerance=Tolerance(
        "each difference and product rounds half an eps of itself; in 1 - y^2, which cancels, the "
        "square's half an eps remains; a choice rounds nothing",
        _bound,
    ),
    sizes=paired_sizes(),
    ladder=ladder_sizes(2),
    specials=(math.nan, 0.0, -0.0, 1.0, -1.0),
    variants=tuple({"activation": name} for name in SLOPES),
)
