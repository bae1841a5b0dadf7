"""squared_error: the sum of (x - t)^2 over all elements of two arrays of one shape."""

from __future__ import annotations

import math

import numpy as np

from tinytorch.ops.dot import equal_shapes, paired_sizes
from tinytorch.ops.elementwise import flops_per_element, ladder_sizes
from tinytorch.ops.spec import Array, Op, Tolerance


def _reference(x: Array, t: Array) -> Array:
    return np.asarray(((x - t) ** 2).sum())


def _bound(reference: Array, x: Array, t: Array) -> Array:
    return np.asarray((1.501 + 2 * math.sqrt(max(1, x.size))) * reference)


OP = Op(
    name="squared_error",
    signature="(...), (...) -> ()",
    reference=_reference,
    output_shape=equal_shapes,
    # Difference, square, sum.
    flops=flops_per_element(3),
    tolerance=Tolerance(
        "each square errs by 3/2 eps; the sum of n positive terms as dot's, by 2 sqrt(n) eps",
        _bound,
    ),
    sizes=paired_sizes(),
    ladder=ladder_sizes(2),
)
