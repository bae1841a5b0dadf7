"""Embeddings: tokens and positions become vectors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch.core import graph, randomness
from tinytorch.core.layers import Layer, as_tensor, positive_int
from tinytorch.core.rules.sequences import EmbeddingBackward
from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.spec import Array

__all__ = [
    "Embedding",
    "EmbeddingLayer",
    "PositionalEncoding",
    "create_sinusoidal_embeddings",
    "token_numbers",
]


def token_numbers(tokens: Any, vocab_size: int) -> Array:
    """Return tokens, a Tensor or anything like an array, as int64 below `vocab_size`.

    Raises InvalidValue for fractions and for numbers outside of the vocabulary.
    """
    raw = np.asarray(getattr(tokens, "_data", tokens))
    if raw.dtype.kind not in "biuf":
        raise InvalidValue(f"tokens are whole numbers, got {raw.dtype}")
    numbers = raw.astype(np.int64, copy=False)
    if raw.dtype.kind == "f" and not np.array_equal(numbers, raw):
        raise InvalidValue("tokens are whole numbers, got fractions")
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < vocab_size:
        raise InvalidValue(
            f"tokens must be from 0 to {vocab_size - 1}, got {numbers.min()} to {numbers.max()}"
        )
    return numbers


class Embedding(Layer):
    """A table of vectors: weight (vocab_size, embed_dim), drawn within +-sqrt(6 / (V + E))."""

    def __init__(self, vocab_size: int, embed_dim: int) -> None:
        """Draw the table."""
        self.vocab_size = positive_int(vocab_size, "vocab_size")
        self.embed_dim = positive_int(embed_dim, "embed_dim")
        limit = math.sqrt(6 / (vocab_size + embed_dim))
        drawn = (randomness.uniform((vocab_size, embed_dim)) * 2 - 1) * limit
        self.weight = Tensor(drawn, requires_grad=True)

    def forward(self, indices: Any) -> Tensor:
        """Return (..., embed_dim) for token numbers (...)."""
        numbers = token_numbers(indices, self.vocab_size)
        return graph.apply(EmbeddingBackward, self.weight, numbers=numbers)

    def __repr__(self) -> str:
        return f"Embedding(vocab_size={self.vocab_size}, embed_dim={self.embed_dim})"


def create_sinusoidal_embeddings(max_seq_len: int, embed_dim: int) -> Tensor:
    """Return (max_seq_len, embed_dim): sin(p / 10000^(2i/E)) and, beside it, its cosine.

    Vaswani et al., 2017, section 3.5.
    """
    positive_int(max_seq_len, "max_seq_len")
    positive_int(embed_dim, "embed_dim")
    angles = np.arange(max_seq_len)[:, None] / 10000 ** (np.arange(0, embed_dim, 2) / embed_dim)
    table = np.zeros((max_seq_len, embed_dim))
    table[:, 0::2] = np.sin(angles)
    table[:, 1::2] = np.cos(angles)[:, : embed_dim // 2]
    return Tensor(table)


def _sequence(x: Any, embed_dim: int, longest: int) -> Tensor:
    given = as_tensor(x)
    if given.ndim < 2 or given.shape[-1] != embed_dim:
        raise ShapeError(f"positions are added to (B, T, {embed_dim}), got shape {given.shape}")
    if given.shape[-2] > longest:
        raise ShapeError(f"a sequence of {given.shape[-2]} is longer than max_seq_len={longest}")
    return given


class PositionalEncoding(Layer):
    """A learned vector for each position, added to what is there."""

    def __init__(self, max_seq_len: int, embed_dim: int) -> None:
        """Draw the vectors."""
        self.max_seq_len = positive_int(max_seq_len, "max_seq_len")
        self.embed_dim = positive_int(embed_dim, "embed_dim")
        drawn = randomness.normal((max_seq_len, embed_dim), 0.02)
        self.position_embeddings = Tensor(drawn, requires_grad=True)

    def forward(self, x: Any) -> Tensor:
        """Return x (B, T, embed_dim) plus the first T positions' vectors."""
        given = _sequence(x, self.embed_dim, self.max_seq_len)
        return given + self.position_embeddings[: given.shape[-2]]

    def __repr__(self) -> str:
        return f"PositionalEncoding(max_seq_len={self.max_seq_len}, embed_dim={self.embed_dim})"


class EmbeddingLayer(Layer):
    """Tokens and positions together; positions are "learned", "sinusoidal" or None."""

    def __init__(
        self,
        vocab_size: int,
        embed_dim: int,
        max_seq_len: int = 512,
        pos_encoding: str | None = "learned",
        scale_embeddings: bool = False,
    ) -> None:
        """Draw the tables. Raises InvalidValue for another kind of positions."""
        if pos_encoding not in ("learned", "sinusoidal", None):
            raise InvalidValue(
                f"pos_encoding must be 'learned', 'sinusoidal' or None, got {pos_encoding!r}"
            )
        self.vocab_size, self.embed_dim = vocab_size, embed_dim
        self.max_seq_len, self.scale_embeddings = max_seq_len, scale_embeddings
        self.pos_encoding_type = pos_encoding
        self.token_embedding = Embedding(vocab_size, embed_dim)
        self.pos_encoding: PositionalEncoding | Tensor | None = None
        if pos_encoding == "learned":
            self.pos_encoding = PositionalEncoding(max_seq_len, embed_dim)
        elif pos_encoding == "sinusoidal":
            self.pos_encoding = create_sinusoidal_embeddings(max_seq_len, embed_dim)

    def forward(self, tokens: Any) -> Tensor:
        """Return (B, T, embed_dim) for tokens (B, T), or (T, embed_dim) for (T,)."""
        x: Tensor = self.token_embedding(tokens)
        if self.scale_embeddings:
            x = x * math.sqrt(self.embed_dim)
        if isinstance(self.pos_encoding, PositionalEncoding):
            return self.pos_encoding(x)  # type: ignore[no-any-return]
        if self.pos_encoding is not None:
            x = _sequence(x, self.embed_dim, self.max_seq_len)
            return x + self.pos_encoding[: x.shape[-2]]
        return x
