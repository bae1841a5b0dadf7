"""loss_gradient: what loss_sum changes by with each element of x, times `scale`.

"mse": 2 (x - t); "bce": (x - t) / (x (1 - x)), the denominator kept above 1e-12. `scale` is the
gradient of what follows, and 1 / n where the mean was taken.
"""

from __future__ import annotations

import math

import numpy as np

from tinytorch.ops.dot import paired_sizes
from tinytorch.ops.elementwise import ladder_sizes, roundings
from tinytorch.ops.gelu_gradient import same_shape
from tinytorch.ops.loss_sum import LOSSES, draw, known_loss
from tinytorch.ops.spec import Array, Op, Shape, Shapes

LEAST = 1e-12


def _reference(x: Array, t: Array, loss: str = "mse", scale: float = 1.0) -> Array:
    if loss == "mse":
        return np.asarray(2 * scale * (x - t))
    return np.asarray(scale * (x - t) / np.maximum(x * (1 - x), LEAST))


def _output_shape(shapes: Shapes, loss: str = "mse", scale: float = 1.0) -> Shape:
    known_loss("loss_gradient", loss)
    return same_shape("loss_gradient", shapes)


def _flops(shapes: Shapes, loss: str = "mse", scale: float = 1.0) -> int:
    return (2 if loss == "mse" else 6) * math.prod(shapes[0])


OP = Op(
    name="loss_gradient",
    signature="(...), (...) -> (...)",
    reference=_reference,
    output_shape=_output_shape,
    flops=_flops,
    tolerance=roundings(
        8,
        "seven steps at most, each rounded by half an eps of itself: two differences, the "
        "denominator's product and limit, the division, the scale and its product",
    ),
    sizes=paired_sizes(),
    ladder=ladder_sizes(2),
    variants=({"loss": "mse"}, *({"loss": name, "scale": 0.3} for name in LOSSES)),
    draw=draw,
)
