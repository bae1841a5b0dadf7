"""attention: softmax(scale * q kᵀ) v along the keys, what is hidden left out.

q (..., Tq, d), k (..., Tk, d), v (..., Tk, e) make (..., Tq, e); the axes before, batch and heads,
broadcast. `scale` is 1/sqrt(d) unless given. `causal` lets the last query see every key, the
one before it all but the last key, and so on: query i sees keys 0 … i + Tk - Tq, which for as many
queries as keys is the usual triangle, and for new queries after cached keys what they may see. A
query that sees nothing gets zeros, as in PyTorch.

Shape letters: Tq, Tk queries and keys of one sequence, d and e the lengths of a key and a value.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Size, Tolerance


def output_shape(name: str, shapes: Shapes) -> Shape:
    """Return the output's shape for q, k and v; raises ShapeError where they don't fit."""
    q, k, v = shapes
    if min(map(len, shapes)) < 2:
        raise ShapeError(
            f"{name} takes q (..., Tq, d), k (..., Tk, d) and v (..., Tk, e), got {q}, {k} and {v}"
        )
    if q[-1] != k[-1] or k[-2] != v[-2]:
        raise ShapeError(
            f"{name} shape mismatch: q {q}, k {k}, v {v}: queries and keys must be of one length "
            "(the last axis of q and k), and there must be a value for each key"
        )
    try:
        batch = np.broadcast_shapes(q[:-2], k[:-2], v[:-2])
    except ValueError as error:
        raise ShapeError(
            f"{name} shape mismatch: the batch axes {q[:-2]}, {k[:-2]} and {v[:-2]} do not "
            "broadcast"
        ) from error
    return (*batch, q[-2], v[-1])


def scale_for(d: int, scale: float | None) -> float:
    """Return what scores are multiplied by; raises InvalidValue unless it is a finite number."""
    if scale is None:
        return 1.0 / math.sqrt(max(1, d))
    if not math.isfinite(scale):
        raise InvalidValue(f"attention's scale must be a finite number, got {scale!r}")
    return float(scale)


def kept(Tq: int, Tk: int, causal: bool) -> Array:
    """Return which keys (columns) each query (row) sees, as booleans."""
    return np.tri(Tq, Tk, Tk - Tq, dtype=bool) if causal else np.ones((Tq, Tk), bool)


def weights(q: Array, k: Array, keep: Array, scale: float | None) -> tuple[Array, Array, Array]:
    """Return the scores, the softmax's weights and the logarithms of its sums, in float64."""
    scores = scale_for(q.shape[-1], scale) * np.matmul(q, np.swapaxes(k, -1, -2))
    scores = np.where(keep, scores, -np.inf)
    largest = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    powers = np.exp(scores - np.where(largest == -np.inf, 0.0, largest))
    total = powers.sum(axis=-1, keepdims=True)
    shares = np.divide(powers, total, out=np.zeros_like(powers), where=total != 0)
    with np.errstate(divide="ignore"):
        logs = np.where(total != 0, largest + np.log(total), -np.inf)
    return scores, shares, logs[..., 0]


def score_error(q: Array, k: Array, scores: Array, scale: float | None) -> Array:
    """Return how far a weight may be off, relative to itself, in eps; 0 where it is hidden."""
    size = abs(scale_for(q.shape[-1], scale)) * np.matmul(abs(q), np.swapaxes(abs(k), -1, -2))
    seen = np.isfinite(scores)
    largest = np.where(seen, scores, -np.inf).max(axis=-1, keepdims=True, initial=-np.inf)
    distance = np.where(seen, largest - np.where(seen, scores, 0.0), 0.0)
    error = (2.0 * math.sqrt(max(1, q.shape[-1])) + 2.0) * size + distance + 4.0
    return np.where(seen, error, 0.0)


def bound(reference: Array, q: Array, k: Array, v: Array, keep: Array, scale: Any) -> Array:
    """Return the largest honest error of each output, in eps."""
    scores, shares, _ = weights(q, k, keep, scale)
    relative = shares * score_error(q, k, scores, scale)
    terms = math.sqrt(max(1, k.shape[-2]))
    size = abs(reference)
    off = np.matmul(relative, abs(v)) + relative.sum(axis=-1, keepdims=True) * size
    return np.asarray(off + 2.0 * terms * np.matmul(shares, abs(v)) + (4.0 + terms) * size)


def draw(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Draw values of which scores come some units apart, so that no weight has it all."""
    values = rng.standard_normal(shape) * np.exp2(rng.uniform(-2.0, 2.0, shape))
    return np.asarray(1.25 * values).astype(dtype)


def sized(name: str, Tq: int, Tk: int, d: int, e: int, batch: Shape = ()) -> Size:
    """Return the size of q, k and v with these lengths."""
    return Size(name, ((*batch, Tq, d), (*batch, Tk, d), (*batch, Tk, e)))


SIZES = (
    sized("one", 1, 1, 1, 1),
    sized("tiny", 3, 4, 2, 5),
    sized("empty-queries", 0, 4, 3, 2),
    sized("empty-keys", 3, 0, 2, 4),
    sized("empty-batch", 3, 2, 2, 4, (0,)),
    sized("square", 16, 16, 16, 16),
    sized("tall", 61, 7, 3, 8),
    sized("wide", 3, 67, 33, 2),
    sized("odd", 33, 17, 9, 13),
    sized("blocks", 5, 531, 4, 3),
    sized("one-query", 1, 45, 12, 12, (2, 3)),
    sized("heads", 15, 19, 8, 10, (2, 3)),
    Size("shared-keys", ((2, 3, 5, 4), (2, 1, 6, 4), (2, 1, 6, 4))),
)


def ladder_sizes() -> tuple[Size, ...]:
    """Return the sizes of tables of speed: 12 heads of 32 and 64, sequences of 128 … 2048."""
    return tuple(
        sized(f"{T}x{d}", T, T, d, d, (1, 12))
        for d in (32, 64)
        for T in (128, 256, 512, 1024, 2048)
    )


def seen_pairs(Tq: int, Tk: int, causal: bool) -> int:
    """Return how many (query, key) pairs see each other."""
    if not causal:
        return Tq * Tk
    hidden_queries = max(0, Tq - Tk)
    rows = Tq - hidden_queries
    return rows * Tk - rows * (rows - 1) // 2


def _output_shape(shapes: Shapes, causal: bool = False, scale: float | None = None) -> Shape:
    scale_for(1, scale)
    return output_shape("attention", shapes)


def _flops(shapes: Shapes, causal: bool = False, scale: float | None = None) -> int:
    q, _, v = shapes
    batch = math.prod(_output_shape(shapes)[:-2])
    # Two products, and softmax's five a score.
    return batch * seen_pairs(q[-2], v[-2], causal) * (2 * q[-1] + 2 * v[-1] + 5)


def keep_of(q: Array, k: Array, causal: bool) -> Array:
    """Return which keys each query sees, as booleans (Tq, Tk)."""
    return kept(q.shape[-2], k.shape[-2], causal)


def _reference(
    q: Array, k: Array, v: Array, causal: bool = False, scale: float | None = None
) -> Array:
    return np.asarray(np.matmul(weights(q, k, keep_of(q, k, causal), scale)[1], v))


def _bound(
    reference: Array,
    q: Array,
    k: Array,
    v: Array,
    causal: bool = False,
    scale: float | None = None,
) -> Array:
    return bound(reference, q, k, v, keep_of(q, k, causal), scale)


OP = Op(
    name="attention",
    signature="(..., Tq, d), (..., Tk, d), (..., Tk, e) -> (..., Tq, e)",
    reference=_reference,
    output_shape=_output_shape,
    flops=_flops,
    draw=draw,
    tolerance=Tolerance(
        "a score errs by (2 sqrt(d) + 2) eps scale |q||k|, its distance from the largest by an eps "
        "of itself, and exp by 4 eps: together the relative error of a weight; what that does to "
        "an output is the weighted mean of it times |v| + |output|; the two sums over Tk keys err "
        "by sqrt(Tk) eps of their terms' size, twice for the products; what is hidden is exactly 0",
        _bound,
    ),
    sizes=SIZES,
    ladder=ladder_sizes(),
    variants=({}, {"causal": True}, {"causal": True, "scale": 0.3}),
)
