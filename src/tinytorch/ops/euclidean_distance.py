"""euclidean_distance: sqrt of the sum of (x - y)^2 over all elements of two arrays of one shape."""

from __future__ import annotations

import math

import numpy as np

from tinytorch.ops.dot import equal_shapes, paired_sizes
from tinytorch.ops.elementwise import ladder_sizes
from tinytorch.ops.spec import Array, Op, Shapes, Tolerance


def _reference(x: Array, y: Array) -> Array:
    return np.asarray(np.sqrt(np.sum((x - y) ** 2)))


def _bound(reference: Array, x: Array, y: Array) -> Array:
    return np.asarray((2 + math.sqrt(max(1, x.size))) * np.abs(reference))


def _flops(shapes: Shapes) -> int:
    return 3 * math.prod(shapes[0]) + 1


OP = Op(
    name="euclidean_distance",
    signature="(...), (...) -> ()",
    reference=_reference,
    output_shape=equal_shapes,
    flops=_flops,
    tolerance=Tolerance(
        "all terms are positive: each errs by 1.5 eps of itself, their sum by sqrt(n) eps, and the "
        "root halves both and adds its own half",
        _bound,
    ),
    sizes=paired_sizes(),
    ladder=ladder_sizes(2),
)
