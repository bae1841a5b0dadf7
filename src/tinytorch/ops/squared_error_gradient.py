"""squared_error_gradient: what squared_error changes by with each element of x, times `scale`.

2 (x - t) scale; `scale` is the gradient of what follows, and 1 / n of it where a mean is taken.
"""

from __future__ import annotations

import numpy as np

from tinytorch.ops.dot import paired_sizes
from tinytorch.ops.elementwise import flops_per_element, ladder_sizes, roundings
from tinytorch.ops.gelu_gradient import same_shape
from tinytorch.ops.spec import Array, Op, Shape, Shapes


def _reference(x: Array, t: Array, scale: float = 1.0) -> Array:
    return np.asarray(2 * scale * (x - t))


def _output_shape(shapes: Shapes, scale: float = 1.0) -> Shape:
    return same_shape("squared_error_gradient", shapes)


OP = Op(
    name="squared_error_gradient",
    signature="(...), (...) -> (...)",
    reference=_reference,
    output_shape=_output_shape,
    flops=flops_per_element(2),
    tolerance=roundings(3.001, "the scale, the difference and their product round once each"),
    sizes=paired_sizes(),
    ladder=ladder_sizes(2),
    variants=({}, {"scale": 0.3}),
)
