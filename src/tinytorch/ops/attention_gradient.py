"""attention_gradient: what attention's output changes by with q, k and v, times dout.

Takes q, k, v, the output and the logs of attention_and_logs, and dout; returns dq, dk and dv. With
P = exp(scores - logs) where a key is seen and 0 elsewhere, D the sums of out * dout along each
query, and dS = P (dout vᵀ - D): dq = scale dS k, dk = scale dSᵀ q, dv = Pᵀ dout. Batch axes must be
alike: for those that were broadcast, sum what comes out.

Source: Dao et al., FlashAttention (2022), appendix B.2.

Shape letters: Tq, Tk queries and keys of one sequence, d and e the lengths of a key and a value.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch.errors import ShapeError
from tinytorch.ops import attention
from tinytorch.ops.attention import keep_of, scale_for, seen_pairs
from tinytorch.ops.spec import Array, Op, Shapes, Size, Tolerance


def output_shapes(name: str, shapes: Shapes) -> Shapes:
    """Return the gradients' shapes; raises ShapeError where the six arrays don't fit."""
    q, k, v, out, logs, dout = shapes
    shape = attention.output_shape(name, (q, k, v))
    if not q[:-2] == k[:-2] == v[:-2]:
        raise ShapeError(
            f"{name} needs equal batch axes, got q {q}, k {k}, v {v}: broadcast them "
            "first (np.broadcast_to), and sum the gradients over what was broadcast"
        )
    if not out == dout == shape or logs != shape[:-1]:
        raise ShapeError(
            f"{name} takes the output and its gradient {shape} and logs {shape[:-1]}, "
            f"got {out}, {dout} and {logs}"
        )
    return q, k, v


def _output_shape(shapes: Shapes, causal: bool = False, scale: float | None = None) -> Shapes:
    scale_for(1, scale)
    return output_shapes("attention_gradient", shapes)


def _flops(shapes: Shapes, causal: bool = False, scale: float | None = None) -> int:
    q, k, v, out, _, _ = shapes
    pairs = math.prod(q[:-2]) * seen_pairs(q[-2], k[-2], causal)
    # Five products, and a score's subtraction, exponential, difference and product; then D.
    return pairs * (6 * q[-1] + 4 * v[-1] + 4) + 2 * math.prod(out)


def _transposed(array: Array) -> Array:
    return np.swapaxes(array, -1, -2)


def _parts(
    inputs: tuple[Array, ...], keep: Array, scale: float | None
) -> tuple[float, Array, Array, Array]:
    """Return the scale, the scores, P, and the gradients of the scores."""
    q, k, v, out, logs, dout = inputs
    factor = scale_for(q.shape[-1], scale)
    scores = factor * np.matmul(q, _transposed(k))
    P = np.where(keep & np.isfinite(logs)[..., None], np.exp(scores - logs[..., None]), 0.0)
    D = (out * dout).sum(axis=-1, keepdims=True)
    return factor, scores, P, P * (np.matmul(dout, _transposed(v)) - D)


def reference(inputs: tuple[Array, ...], keep: Array, scale: float | None = None) -> Any:
    """Return dq, dk and dv for the six inputs, each query seeing what `keep` says."""
    factor, _, P, dS = _parts(inputs, keep, scale)
    q, k, *_, dout = inputs
    return (
        factor * np.matmul(dS, k),
        factor * np.matmul(_transposed(dS), q),
        np.matmul(_transposed(P), dout),
    )


def bound(
    gradients: Any, inputs: tuple[Array, ...], keep: Array, scale: float | None = None
) -> tuple[Array, ...]:
    """Return the largest honest errors of the gradients, in eps."""
    q, k, v, out, logs, dout = inputs
    factor, scores, P, dS = _parts(inputs, keep, scale)
    root_d, root_e, root_q, root_k = (
        2.0 * math.sqrt(max(1, n)) for n in (q.shape[-1], v.shape[-1], q.shape[-2], k.shape[-2])
    )
    size = abs(factor) * np.matmul(abs(q), _transposed(abs(k)))
    log = np.where(np.isfinite(logs), logs, 0.0)[..., None]
    relative = (root_d + 2.0) * size + abs(scores - log) + 2.0 * abs(log) + 6.0
    inner = np.matmul(abs(dout), _transposed(abs(v)))
    inner = inner + (abs(out) * abs(dout)).sum(axis=-1, keepdims=True)
    error = abs(dS) * (relative + 2.0) + P * (root_e + 2.0) * inner
    return (
        abs(factor) * np.matmul(error + root_k * abs(dS), abs(k)) + 2.0 * abs(gradients[0]),
        abs(factor) * np.matmul(_transposed(error + root_q * abs(dS)), abs(q))
        + 2.0 * abs(gradients[1]),
        np.matmul(_transposed(P * (relative + root_q)), abs(dout)) + 2.0 * abs(gradients[2]),
    )


def _reference(*inputs: Array, causal: bool = False, scale: float | None = None) -> Any:
    return reference(inputs, keep_of(inputs[0], inputs[1], causal), scale)


def _bound(
    gradients: Any, *inputs: Array, causal: bool = False, scale: float | None = None
) -> tuple[Array, ...]:
    return bound(gradients, inputs, keep_of(inputs[0], inputs[1], causal), scale)


def drawn(
    rng: np.random.Generator, shapes: Shapes, dtype: np.dtype[Any], keep: Any
) -> tuple[Array, ...]:
    """Draw q, k, v and dout; the output and the logs are those of q, k, v and `keep`."""
    q, k, v, _, _, dout = (attention.draw(rng, shape, dtype) for shape in shapes)
    exact = [array.astype(np.float64) for array in (q, k, v)]
    _, shares, logs = attention.weights(exact[0], exact[1], keep, None)
    return q, k, v, np.matmul(shares, exact[2]).astype(dtype), logs.astype(dtype), dout


def _draw_all(rng: np.random.Generator, shapes: Shapes, dtype: np.dtype[Any]) -> tuple[Array, ...]:
    return drawn(rng, shapes, dtype, True)


def whole(size: Size) -> Size:
    """Return the size of all inputs for one of q, k and v; what follows these comes last."""
    q, k, v, *others = size.shapes
    out = (*q[:-1], v[-1])
    return Size(size.name, (q, k, v, out, out[:-1], out, *others))


def _sizes(sizes: tuple[Size, ...]) -> tuple[Size, ...]:
    return tuple(whole(size) for size in sizes if size.name != "shared-keys")


OP = Op(
    name="attention_gradient",
    signature="(..., Tq, d), (..., Tk, d), (..., Tk, e), (..., Tq, e), (..., Tq), (..., Tq, e) -> "
    "(..., Tq, d), (..., Tk, d), (..., Tk, e)",
    reference=_reference,
    output_shape=_output_shape,
    flops=_flops,
    draw_all=_draw_all,
    tolerance=Tolerance(
        "a weight errs, relative to itself, by (2 sqrt(d) + 2) eps scale |q||k|, by its distance "
        "from the logarithm, two roundings of that, and exp's 4 eps; dS by that and by 2 sqrt(e) "
        "eps of dout's products with v and with out; each sum by 2 sqrt(terms) eps of its terms'"
        " size, and by theirs; what is hidden counts for nothing",
        _bound,
    ),
    sizes=_sizes(attention.SIZES),
    ladder=_sizes(attention.ladder_sizes()),
    variants=({}, {"causal": True}),
    outputs=3,
)
