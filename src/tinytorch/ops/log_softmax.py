"""log_softmax: x - max x - log sum exp(x - max x), along the last axis."""

from __future__ import annotations

import numpy as np

from tinytorch.ops.rows import (
    LADDER,
    flops_per_element,
    logits,
    root_of_terms,
    row_shape,
    row_sizes,
)
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Tolerance


def _reference(x: Array) -> Array:
    if not x.size:
        return x
    shifted = x - x.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def _output_shape(shapes: Shapes) -> Shape:
    return row_shape("log_softmax", shapes)


def error_of_log_sum(x: Array) -> Array:
    """Return a bound, in eps, of the error of log(sum(exp(x - max x))), of shape (..., 1)."""
    shifted = x - x.max(axis=-1, keepdims=True)
    powers = np.exp(shifted)
    total = powers.sum(axis=-1, keepdims=True)
    # A masked logit, -inf, adds exactly 0.
    away = np.where(powers == 0, 0.0, -shifted)
    rounded = (powers * (0.5 * away)).sum(axis=-1, keepdims=True) / total
    return np.asarray(rounded + 2 + root_of_terms(x) + np.log(total))


def _bound(reference: Array, x: Array) -> Array:
    if not x.size:
        return x
    shifted = x - x.max(axis=-1, keepdims=True)
    return np.asarray(0.5 * np.abs(shifted) + error_of_log_sum(x) + np.abs(reference))


OP = Op(
    name="log_softmax",
    signature="(..., C) -> (..., C)",
    reference=_reference,
    output_shape=_output_shape,
    # max, subtract, exp, add, subtract: five an element.
    flops=flops_per_element(5),
    draw=logits,
    tolerance=Tolerance(
        "x - max rounds by half an eps of itself; the sum of exponentials errs by as much, weighted"
        " by each one's share, by exp's 2 ulp and sqrt(C) eps, all of which log makes absolute; log"
        " and the last difference round once",
        _bound,
    ),
    sizes=row_sizes(),
    ladder=row_sizes(shapes=LADDER),
)
