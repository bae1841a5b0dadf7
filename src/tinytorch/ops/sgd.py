"""sgd: one step of gradient descent, w - lr (g + weight_decay w).

`out` may be w itself, which updates it in place.
"""

from __future__ import annotations

import numpy as np

from tinytorch.ops.dot import paired_sizes
from tinytorch.ops.elementwise import flops_per_element, ladder_sizes
from tinytorch.ops.gelu_gradient import same_shape
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Tolerance


def formula(w: Array, g: Array, lr: float, weight_decay: float) -> Array:
    """Return the step in NumPy, in the arrays' own type."""
    return w - lr * (g + weight_decay * w)


def _reference(w: Array, g: Array, lr: float = 0.01, weight_decay: float = 0.0) -> Array:
    return np.asarray(formula(w, g, lr, weight_decay))


def _output_shape(shapes: Shapes, lr: float = 0.01, weight_decay: float = 0.0) -> Shape:
    return same_shape("sgd", shapes)


def _bound(
    reference: Array, w: Array, g: Array, lr: float = 0.01, weight_decay: float = 0.0
) -> Array:
    decay = np.abs(weight_decay * w)
    return np.asarray(abs(lr) * (decay + 2 * (np.abs(g) + decay)) + np.abs(reference))


OP = Op(
    name="sgd",
    signature="(...), (...) -> (...)",
    reference=_reference,
    output_shape=_output_shape,
    # Two products, a sum and a difference.
    flops=flops_per_element(4),
    tolerance=Tolerance(
        "constants, products and sums round half an eps each: the decay twice, the change four "
        "times, and the difference once",
        _bound,
    ),
    sizes=paired_sizes(),
    ladder=ladder_sizes(2),
    variants=({}, {"lr": 0.3, "weight_decay": 0.1}),
)
