"""softmax_gradient: y (dy - sum y dy) along the last axis, from softmax's own output y."""

from __future__ import annotations

import numpy as np

from tinytorch.ops.rows import (
    LADDER,
    flops_per_element,
    root_of_terms,
    row_shape,
    row_sizes,
)
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Tolerance


def _reference(y: Array, dy: Array) -> Array:
    return np.asarray(y * (dy - (y * dy).sum(axis=-1, keepdims=True)))


def _output_shape(shapes: Shapes) -> Shape:
    return row_shape("softmax_gradient", shapes, arrays=2)


def _bound(reference: Array, y: Array, dy: Array) -> Array:
    total = np.abs(y * dy).sum(axis=-1, keepdims=True)
    summed = (0.5 + 2 * root_of_terms(y)) * total
    return np.asarray(np.abs(y) * (summed + np.abs(dy)) + np.abs(reference))


OP = Op(
    name="softmax_gradient",
    signature="(..., C), (..., C) -> (..., C)",
    reference=_reference,
    output_shape=_output_shape,
    # Product, sum, difference, product: four an element.
    flops=flops_per_element(4),
    tolerance=Tolerance(
        "the sum as dot's, 2 sqrt(C) eps sum|y dy|; the difference and the product round once each",
        _bound,
    ),
    sizes=row_sizes(arrays=2),
    ladder=row_sizes(arrays=2, shapes=LADDER),
)
