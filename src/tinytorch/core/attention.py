"""Attention: each position looks at the others, and takes what resembles what it asks for."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch.core import graph
from tinytorch.core.kvcache import LayerMemory
from tinytorch.core.layers import Layer, Linear, as_tensor, positive_int
from tinytorch.core.rules.sequences import (
    AttentionBackward,
    SelfAttentionBackward,
    TiledAttentionBackward,
    tiles_pay,
)
from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.spec import Array

__all__ = ["CausalMask", "MultiHeadAttention", "create_causal_mask", "scaled_dot_product_attention"]


class CausalMask(Tensor):
    """A mask known to hide what lies ahead, so that its elements need not be looked at."""

    __slots__ = ()


def create_causal_mask(seq_len: int) -> Tensor:
    """Return (1, T, T): 1 where a position may look (itself and before), 0 ahead."""
    positive_int(seq_len, "seq_len")
    return CausalMask(np.tril(np.ones((1, seq_len, seq_len), np.float32)))


def _kept(mask: Any, scores: tuple[int, ...]) -> Array:
    """Return where a mask (1 keep, 0 hide) keeps; raises ShapeError unless it broadcasts."""
    held = np.atleast_1d(getattr(mask, "_data", mask))
    try:
        fits = np.broadcast_shapes(held.shape, scores) == scores
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"a mask of shape {held.shape} does not fit scores of shape {scores}")
    return np.asarray(held != 0)


def scaled_dot_product_attention(Q: Any, K: Any, V: Any, mask: Any = None) -> tuple[Tensor, Tensor]:
    """Return softmax(Q K^T / sqrt(d)) V, and those weights. Q (..., T, d), K and V (..., S, d).

    mask: 1 keeps, 0 hides; it broadcasts to (..., T, S). Vaswani et al., 2017, equation 1.
    """
    q, k, v = as_tensor(Q), as_tensor(K), as_tensor(V)
    if min(q.ndim, k.ndim, v.ndim) < 2 or q.shape[-1] != k.shape[-1]:
        raise ShapeError(
            f"attention takes Q (..., T, d), K (..., S, d), V (..., S, e); got {q.shape}, "
            f"{k.shape} and {v.shape}"
        )
    if k.shape[-2] != v.shape[-2]:
        raise ShapeError(f"attention takes a V for each K, got {v.shape[-2]} and {k.shape[-2]}")
    scores = (q @ k.transpose()) * (1 / math.sqrt(q.shape[-1]))
    if mask is not None:
        scores = scores.masked_fill(~_kept(mask, scores.shape), -1e9)
    weights = scores.softmax()
    return weights @ v, weights


class MultiHeadAttention(Layer):
    """Attention in several heads side by side, each over its own part of the width."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        """Draw four projections. Raises InvalidValue unless the heads divide the width."""
        self.embed_dim = positive_int(embed_dim, "embed_dim")
        self.num_heads = positive_int(num_heads, "num_heads")
        if embed_dim % num_heads:
            raise InvalidValue(
                f"embed_dim must be divisible by num_heads, got {embed_dim} and {num_heads}"
            )
        self.head_dim = embed_dim // num_heads
        self.q_proj = Linear(embed_dim, embed_dim)
        self.k_proj = Linear(embed_dim, embed_dim)
        self.v_proj = Linear(embed_dim, embed_dim)
        self.out_proj = Linear(embed_dim, embed_dim)

    def split(self, x: Tensor) -> Tensor:
        """Return (B, T, embed_dim) as (B, heads, T, head_dim)."""
        b, t, _ = x.shape
        return x.reshape(b, t, self.num_heads, self.head_dim).transpose(1, 2)

    def merge(self, x: Tensor) -> Tensor:
        """Return (B, heads, T, head_dim) as (B, T, embed_dim)."""
        b, _, t, _ = x.shape
        return x.transpose(1, 2).reshape(b, t, self.embed_dim)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Any = None) -> Tensor:
        """Return each head's attention, (B, heads, T, head_dim)."""
        if isinstance(mask, CausalMask) and mask.shape[-1] == q.shape[-2] == k.shape[-2]:
            return graph.apply(TiledAttentionBackward, q, k, v, causal=True)
        keep = None
        if mask is not None:
            held = np.asarray(getattr(mask, "_data", mask))
            # A mask (B, T, S) is one for all heads.
            keep = _kept(held[:, None] if held.ndim == 3 else held, (*q.shape[:-1], k.shape[-2]))
        if tiles_pay(q._data, k._data, v._data):
            return graph.apply(TiledAttentionBackward, q, k, v, causal=False, keep=keep)
        return graph.apply(AttentionBackward, q, k, v, keep=keep)

    def forward(self, x: Any, mask: Any = None, memory: LayerMemory | None = None) -> Tensor:
        """Return (B, T, embed_dim) for x of that shape.

        mask: 1 keeps, 0 hides; (T, T), (B, T, T) or (B, heads, T, T). With a memory, x is what
        comes after the positions that it holds, and is kept there too.
        """
        x = as_tensor(x)
        if x.ndim != 3 or x.shape[-1] != self.embed_dim:
            raise ShapeError(
                f"MultiHeadAttention takes (B, T, {self.embed_dim}), got shape {x.shape}"
            )
        if memory is None and self._joins(x, mask):
            return self.out_proj(self._joined(x))  # type: ignore[no-any-return]
        q, k, v = (self.split(p(x)) for p in (self.q_proj, self.k_proj, self.v_proj))
        if memory is not None:
            k, v = memory.recall(k, v)
        return self.out_proj(self.merge(self.attend(q, k, v, mask)))  # type: ignore[no-any-return]

    def _joins(self, x: Tensor, mask: Any) -> bool:
        """Say whether the projections are to be one product: in training, where all is as made."""
        three = self.q_proj, self.k_proj, self.v_proj
        return (
            isinstance(mask, CausalMask)
            and mask.shape[-1] == x.shape[1]
            and graph.is_grad_enabled()
            and type(self).attend is MultiHeadAttention.attend
            and all(type(p) is Linear and "forward" not in vars(p) for p in three)
            and all(p.bias is not None and p.weight.dtype == p.bias.dtype == x.dtype for p in three)
            and all(p.weight.shape == (self.embed_dim, self.embed_dim) for p in three)
        )

    def _joined(self, x: Tensor) -> Tensor:
        """Return what attention gives, (B, T, embed_dim), before the projection out."""
        three = self.q_proj, self.k_proj, self.v_proj
        weights = [p.weight for p in three]
        biases = [p.bias for p in three if p.bias is not None]
        return graph.apply(SelfAttentionBackward, x, *weights, *biases, count=self.num_heads)
