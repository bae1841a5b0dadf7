"""log_softmax_gradient: dy - exp(y) sum dy along the last axis, from log_softmax's own output y."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.ops import log_softmax
from tinytorch.ops.rows import LADDER, flops_per_element, root_of_terms, row_shape, row_sizes
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Tolerance, wide


def _reference(y: Array, dy: Array) -> Array:
    return np.asarray(dy - np.exp(y) * dy.sum(axis=-1, keepdims=True))


def _output_shape(shapes: Shapes) -> Shape:
    return row_shape("log_softmax_gradient", shapes, arrays=2)


def _bound(reference: Array, y: Array, dy: Array) -> Array:
    weights = np.exp(y)
    total = np.abs(dy.sum(axis=-1, keepdims=True))
    summed = 2 * root_of_terms(y) * np.abs(dy).sum(axis=-1, keepdims=True)
    return np.asarray(weights * (summed + 4.0 * total) + np.abs(reference))


def _draw_all(rng: np.random.Generator, shapes: Shapes, dtype: np.dtype[Any]) -> tuple[Array, ...]:
    """Draw a gradient, and a result of log_softmax."""
    x = log_softmax.OP.draw(rng, shapes[0], dtype)
    return log_softmax.OP.reference(x.astype(np.float64)).astype(dtype), wide(rng, shapes[1], dtype)


OP = Op(
    name="log_softmax_gradient",
    signature="(..., C), (..., C) -> (..., C)",
    reference=_reference,
    output_shape=_output_shape,
    # Sum, exponential, product, difference: four an element.
    flops=flops_per_element(4),
    draw_all=_draw_all,
    tolerance=Tolerance(
        "the sum errs by 2 sqrt(C) eps sum|dy|, which exp(y) scales; exp errs by 3 eps and the "
        "product by one, relative to exp(y) |sum dy|; the difference rounds once",
        _bound,
    ),
    sizes=row_sizes(arrays=2),
    ladder=row_sizes(arrays=2, shapes=LADDER),
)
