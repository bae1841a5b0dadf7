"""quantized_linear: activation(X @ W + b) with both operands of the product as 8-bit codes or less.

The weights' codes are int8, symmetric, a scale for each column (output channel): scale = max|w| /
127. The activations' are unsigned, of 7 bits or 8, a scale and a zero for each row, found from the
row itself: scale = (max(x, 0) - min(x, 0)) / 127 or less. Sums are exact, in int32.
"""

from __future__ import annotations

import math

import numpy as np

from tinytorch.ops import linear
from tinytorch.ops.spec import Array, Op, Tolerance

# An error is uniform within half a step of the codes: six deviations, of step / sqrt(12) each.
_SIX_DEVIATIONS = 6.0 / math.sqrt(12.0)
_STEPS = 127.0


def _errors(steps: Array, others: Array, axis: int) -> Array:
    """Return what errors of half a step at most add up to, over an axis of factors `others`."""
    likely = _SIX_DEVIATIONS * np.sqrt(np.sum(np.square(others), axis=axis, keepdims=True))
    certain = 0.5 * np.sum(np.abs(others), axis=axis, keepdims=True)
    return np.asarray(steps * np.minimum(likely, certain))


def _bound(reference: Array, x: Array, w: Array, b: Array, activation: str = "none") -> Array:
    eps = float(np.finfo(np.float32).eps)
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    span = np.max(rows, axis=1, initial=0.0) - np.min(rows, axis=1, initial=0.0)
    row_steps = span[:, None] / _STEPS
    column_steps = np.max(np.abs(w), axis=0, keepdims=True, initial=0.0) / _STEPS
    quantised = _errors(row_steps, np.abs(w) + 0.5 * column_steps, 0)
    quantised = quantised + _errors(column_steps, rows, 1)
    size = np.matmul(np.abs(rows), np.abs(w)) + np.abs(b) + quantised
    before = (1.001 * quantised / eps + 4.0 * size).reshape(reference.shape)
    size = size.reshape(reference.shape)
    # gelu's slope is at most 1.13, and its own error 4 |z|; relu's slope is at most 1.
    return np.asarray(1.13 * before + 4.0 * size if activation in linear.GELU_FORMS else before)


OP = Op(
    name="quantized_linear",
    signature="(..., K), (K, N), (N,) -> (..., N)",
    reference=linear.OP.reference,
    output_shape=linear.OP.output_shape,
    flops=linear.OP.flops,
    tolerance=Tolerance(
        "half a step of the codes in every factor, added up as independent errors, six deviations "
        "of the sum (or the largest sum, where that is less); then float32's rounding of the sum, "
        "the scales and the bias, and the activation's slope",
        _bound,
    ),
    sizes=linear.OP.sizes,
    ladder=linear.OP.ladder,
    variants=linear.OP.variants,
    dtypes=("float32",),
    draw=linear.OP.draw,
)
