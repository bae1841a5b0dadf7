"""Rules of sequences: embedding, attention and layer normalisation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch.core import compute
from tinytorch.core.graph import Rule
from tinytorch.ops.spec import Array

_HIDDEN = -1e9  # exp of it is 0, and a row of nothing else is even
_FEW_SCORES = 1 << 15  # below, two products and a softmax take less time than tiles do


def tiles_pay(q: Array, k: Array, v: Array) -> bool:
    """Say whether attention is computed in tiles: of one dtype, and more than a few scores."""
    return q.dtype == k.dtype == v.dtype and math.prod(q.shape[:-1]) * k.shape[-2] >= _FEW_SCORES


class EmbeddingBackward(Rule):
    """Rows of a table, by number."""

    __slots__ = ()
    fresh = True

    def forward(self, table: Array, numbers: Array) -> Array:
        """Keep the numbers."""
        self.saved = numbers, table.shape, table.dtype
        return table[numbers]

    def backward(self, grad: Array) -> Any:
        """The gradient is added to the rows it came from."""
        numbers, shape, dtype = self.saved
        full = np.zeros(shape, dtype)
        compute.add_rows(full, numbers.reshape(-1), grad.reshape(-1, shape[-1]))
        return full


class LayerNormBackward(Rule):
    """Each row less its mean, over its deviation, times gamma, plus beta."""

    __slots__ = ()
    fresh = True

    def forward(self, x: Array, gamma: Array, beta: Array, eps: float) -> Array:
        """Keep x, and nothing of its size beside it."""
        self.saved = x, gamma, eps
        return compute.layer_norm(x, gamma, beta, eps)

    def backward(self, grad: Array) -> Any:
        """All three gradients in one walk."""
        x, gamma, eps = self.saved
        return compute.layer_norm_gradient(x, gamma, grad, eps)


class TiledAttentionBackward(Rule):
    """softmax(q k^T / sqrt(d)) v for q, k, v (..., T, d); with `causal`, no query looks ahead.

    `keep`, booleans that broadcast to (..., T, S), says what each query sees. One that sees nothing
    takes an even mean, as of scores that are all -1e9, and learns nothing from it.
    """

    __slots__ = ()
    fresh = True

    def forward(
        self, q: Array, k: Array, v: Array, causal: bool, keep: Array | None = None
    ) -> Array:
        """Keep the output and a number for each query, never the scores."""
        blind = None
        if keep is not None and not (sees := keep.any(axis=-1, keepdims=True)).all():
            blind = ~sees
            # A query of zeros that sees all is even, and gives keys no gradient.
            q, keep = np.where(sees, q, q.dtype.type(0)), keep | blind
        out, logs = compute.attention(q, k, v, causal, keep)
        self.saved = q, k, v, out, logs, causal, keep, blind
        return out  # type: ignore[no-any-return]

    def backward(self, grad: Array) -> Any:
        """All three gradients, with the scores made again."""
        q, k, v, out, logs, causal, keep, blind = self.saved
        kept = out, logs
        dq, dk, dv = compute.attention_gradient(q, k, v, kept, grad, causal=causal, keep=keep)
        if blind is not None:
            np.copyto(dq, dq.dtype.type(0), where=blind)
        return dq, dk, dv


class SelfAttentionBackward(Rule):
    """Causal attention of x (B, T, C) to itself, its three projections as one product.

    Side by side, the weights are one of (C, 3C): x is packed once instead of three times, and so
    are its gradient's operands; and that gradient comes as one sum, not as three arrays to add.
    """

    __slots__ = ()
    fresh = True

    def forward(self, x: Array, wq: Array, wk: Array, wv: Array, *biases: Array, count: int) -> Any:
        """Keep what the projections gave, and their weights as they were."""
        w = np.concatenate((wq, wk, wv), axis=1)
        q, k, v = _three(compute.linear(x, w, np.concatenate(biases)), count)
        out, logs = compute.attention(q, k, v)
        self.saved = x, w, q, k, v, out, logs
        return _merged(out)

    def backward(self, grad: Array) -> Any:
        """Through attention into one array, and from there through the one product."""
        x, w, q, k, v, out, logs = self.saved
        b, heads, t, d = q.shape
        joined = np.empty((b, t, w.shape[1]), q.dtype)
        split = grad.reshape(b, t, heads, d).swapaxes(1, 2)
        compute.attention_gradient(q, k, v, (out, logs), split, _three(joined, heads))
        for_x, *for_w = (edge is not None for edge in self.edges[:4])
        dx, dw = compute.matmul_gradients(x, w, joined, (for_x, any(for_w)))
        apart = (None,) * 3 if dw is None else np.split(dw, 3, axis=1)
        return dx, *apart, *np.split(compute.column_sums(joined), 3)


def _three(joined: Array, heads: int) -> Any:
    """Return what lies side by side in (B, T, 3C) as three views (B, heads, T, d)."""
    b, t, wide = joined.shape
    parts = joined.reshape(b, t, 3, heads, wide // (3 * heads)).transpose(2, 0, 3, 1, 4)
    return tuple(parts)


def _merged(heads: Array) -> Array:
    """Return (B, heads, T, d) as (B, T, C)."""
    b, count, t, d = heads.shape
    return heads.swapaxes(1, 2).reshape(b, t, count * d)


class AttentionBackward(Rule):
    """softmax(q k^T / sqrt(d) + mask) v, over heads: q, k, v (..., T, d)."""

    __slots__ = ()
    fresh = True

    def forward(self, q: Array, k: Array, v: Array, keep: Array | None) -> Array:
        """Keep the probabilities."""
        scale = q.dtype.type(1 / math.sqrt(q.shape[-1]))
        scores = compute.matmul(q, k.swapaxes(-1, -2))
        scores *= scale
        hidden = None if keep is None else ~keep
        if hidden is not None:
            np.copyto(scores, scores.dtype.type(_HIDDEN), where=hidden)
        weights = compute.softmax(scores)
        self.saved = q, k, v, weights, scale, hidden
        return compute.matmul(weights, v)

    def backward(self, grad: Array) -> Any:
        """Through the product, softmax, and the scores' product."""
        q, k, v, weights, scale, hidden = self.saved
        dv = compute.matmul(weights.swapaxes(-1, -2), grad)
        d_scores = compute.softmax_gradient(weights, compute.matmul(grad, v.swapaxes(-1, -2)))
        if hidden is not None:  # a weight where none is seen, of a query that sees nothing
            np.copyto(d_scores, d_scores.dtype.type(0), where=hidden)
        d_scores *= scale
        return compute.matmul(d_scores, k), compute.matmul(d_scores.swapaxes(-1, -2), q), dv
