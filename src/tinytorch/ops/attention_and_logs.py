"""attention_and_logs: attention, and log(sum(exp(scores))) of each query, which its gradient needs.

Two outputs: (..., Tq, e) as attention's, and (..., Tq), natural logarithms, -inf for a query that
sees nothing.

Shape letters: Tq, Tk queries and keys of one sequence, d and e the lengths of a key and a value.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch.ops import attention
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Tolerance


def _output_shape(
    shapes: Shapes, causal: bool = False, scale: float | None = None
) -> tuple[Shape, Shape]:
    attention.scale_for(1, scale)
    shape = attention.output_shape("attention_and_logs", shapes)
    return shape, shape[:-1]


def _batched(logs: Array, q: Array, k: Array, v: Array) -> Array:
    """Return the logs for the batch axes of all three: v's may add some."""
    batch = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    return np.broadcast_to(logs, (*batch, q.shape[-2]))


def reference(
    qkv: tuple[Array, ...], keep: Array, scale: float | None = None
) -> tuple[Array, Array]:
    """Return both outputs for q, k and v, each query seeing what `keep` says."""
    q, k, v = qkv
    _, shares, logs = attention.weights(q, k, keep, scale)
    return np.matmul(shares, v), _batched(logs, q, k, v)


def bound(
    output: Array, qkv: tuple[Array, ...], keep: Array, scale: float | None = None
) -> tuple[Array, Array]:
    """Return the largest honest error of both outputs, in eps; `output` is the first's value."""
    q, k, v = qkv
    scores, shares, logs = attention.weights(q, k, keep, scale)
    off = (shares * attention.score_error(q, k, scores, scale)).sum(axis=-1)
    off = off + math.sqrt(max(1, k.shape[-2])) + 4.0
    off = off + 2.0 * np.where(np.isfinite(logs), abs(logs), 0.0)
    # The logarithm is a largest score and what is above it, each rounded for itself.
    off = off + 2.0 * abs(np.where(np.isfinite(scores), scores, 0.0)).max(axis=-1, initial=0.0)
    return attention.bound(output, q, k, v, keep, scale), _batched(off, q, k, v)


def _reference(*qkv: Array, causal: bool = False, scale: float | None = None) -> Any:
    return reference(qkv, attention.keep_of(qkv[0], qkv[1], causal), scale)


def _bound(
    outputs: tuple[Array, Array], *qkv: Array, causal: bool = False, scale: float | None = None
) -> tuple[Array, Array]:
    return bound(outputs[0], qkv, attention.keep_of(qkv[0], qkv[1], causal), scale)


OP = Op(
    name="attention_and_logs",
    signature="(..., Tq, d), (..., Tk, d), (..., Tk, e) -> (..., Tq, e), (..., Tq)",
    reference=_reference,
    output_shape=_output_shape,
    flops=attention.OP.flops,
    draw=attention.draw,
    tolerance=Tolerance(
        "the first as attention's; a logarithm errs by the weighted mean of its weights' relative "
        "errors, the sum's sqrt(Tk) eps, and two roundings of itself and of the largest score",
        _bound,
    ),
    sizes=attention.SIZES,
    ladder=attention.ladder_sizes(),
    variants=({}, {"causal": True}),
    outputs=2,
)
