"""binary_cross_entropy_gradient: what the sum changes by with each probability, times `scale`.

(p - t) / (p (1 - p)) scale, the denominator kept above 1e-12; `scale` is as in squared_error's.
"""

from __future__ import annotations

import numpy as np

from tinytorch.ops.binary_cross_entropy import draw
from tinytorch.ops.dot import paired_sizes
from tinytorch.ops.elementwise import flops_per_element, ladder_sizes, roundings
from tinytorch.ops.gelu_gradient import same_shape
from tinytorch.ops.spec import Array, Op, Shape, Shapes

LEAST = 1e-12


def _reference(p: Array, t: Array, scale: float = 1.0) -> Array:
    return np.asarray((p - t) / np.maximum(p * (1 - p), LEAST) * scale)


def _output_shape(shapes: Shapes, scale: float = 1.0) -> Shape:
    return same_shape("binary_cross_entropy_gradient", shapes)


OP = Op(
    name="binary_cross_entropy_gradient",
    signature="(...), (...) -> (...)",
    reference=_reference,
    output_shape=_output_shape,
    # p - t, 1 - p, p times it, the limit, the division, the scale.
    flops=flops_per_element(6),
    tolerance=roundings(
        7.001,
        "two differences, the denominator's product or its limit, the division, the scale and its "
        "product round once each",
    ),
    sizes=paired_sizes(),
    ladder=ladder_sizes(2),
    variants=({}, {"scale": 0.3}),
    draw=draw,
)
