"""Transformers: layer norm, the MLP, the block, and GPT."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinytorch.core import graph, randomness
from tinytorch.core.attention import MultiHeadAttention, create_causal_mask
from tinytorch.core.embeddings import Embedding, token_numbers
from tinytorch.core.graph import no_grad
from tinytorch.core.kvcache import KVCache, LayerMemory
from tinytorch.core.layers import Layer, Linear, as_tensor, positive_int
from tinytorch.core.rules.sequences import LayerNormBackward
from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.spec import Array

__all__ = ["GPT", "MLP", "LayerNorm", "TinyGPT", "TransformerBlock", "create_causal_mask"]


class LayerNorm(Layer):
    """(x - mean) / sqrt(variance + eps) * gamma + beta, over the last axis (or axes).

    Ba, Kiros and Hinton, 2016; the variance is the mean square deviation.
    """

    def __init__(self, normalized_shape: int | Sequence[int], eps: float = 1e-5) -> None:
        """Start with gamma 1 and beta 0. Raises InvalidValue for sizes below 1 or eps below 0."""
        sizes = (normalized_shape,) if isinstance(normalized_shape, int) else normalized_shape
        self.normalized_shape = tuple(positive_int(n, "normalized_shape") for n in sizes)
        if not eps >= 0:
            raise InvalidValue(f"LayerNorm's eps must be at least 0, got {eps!r}")
        self.eps = eps
        self.gamma = Tensor(np.ones(self.normalized_shape), requires_grad=True)
        self.beta = Tensor(np.zeros(self.normalized_shape), requires_grad=True)

    def forward(self, x: Any) -> Tensor:
        """Return x (..., *normalized_shape), normalised."""
        x = as_tensor(x)
        count = len(self.normalized_shape)
        if x.shape[-count:] != self.normalized_shape:
            raise ShapeError(
                f"LayerNorm over {self.normalized_shape} takes inputs that end in it, got shape "
                f"{x.shape}"
            )
        gamma, beta, rows = self.gamma, self.beta, x
        if count > 1:
            rows = x.reshape(*x.shape[:-count], math.prod(self.normalized_shape))
            gamma, beta = gamma.reshape(-1), beta.reshape(-1)
        y = graph.apply(LayerNormBackward, rows, gamma, beta, eps=self.eps)
        return y if count == 1 else y.reshape(x.shape)

    def __repr__(self) -> str:
        return f"LayerNorm({self.normalized_shape}, eps={self.eps})"


class MLP(Layer):
    """Linear, GELU, linear; four times as wide inside unless told."""

    def __init__(self, embed_dim: int, hidden_dim: int | None = None) -> None:
        """Draw both layers."""
        self.linear1 = Linear(embed_dim, 4 * embed_dim if hidden_dim is None else hidden_dim)
        self.linear2 = Linear(self.linear1.out_features, embed_dim)

    def forward(self, x: Any) -> Tensor:
        """Return (..., embed_dim) for x of that shape."""
        return self.linear2(self.linear1(x).gelu())  # type: ignore[no-any-return]


class TransformerBlock(Layer):
    """x + attention(norm(x)), then x + mlp(norm(x)): pre-norm, as in GPT-2."""

    def __init__(self, embed_dim: int, num_heads: int, mlp_ratio: float = 4) -> None:
        """Draw the parts; inside, the MLP is `mlp_ratio` times as wide."""
        self.ln1 = LayerNorm(embed_dim)
        self.attention = MultiHeadAttention(embed_dim, num_heads)
        self.ln2 = LayerNorm(embed_dim)
        self.mlp = MLP(embed_dim, int(embed_dim * mlp_ratio))

    def forward(self, x: Any, mask: Any = None, memory: LayerMemory | None = None) -> Tensor:
        """Return (B, T, embed_dim) for x of that shape; the rest as in MultiHeadAttention."""
        x = as_tensor(x)
        x = x + self.attention(self.ln1(x), mask, memory)
        return x + self.mlp(self.ln2(x))  # type: ignore[no-any-return]


class GPT(Layer):
    """A decoder: embeddings, blocks under a causal mask, a norm, and logits for the next token.

    Radford et al., 2019. The head has no bias and is not tied to the embedding. With a `kv_cache`
    (`tinytorch.perf.memoization.enable_kv_cache`), one token goes on from those before it.
    """

    kv_cache: KVCache | None = None

    def __init__(
        self,
        vocab_size: int,
        embed_dim: int,
        num_layers: int,
        num_heads: int,
        max_seq_len: int = 1024,
    ) -> None:
        """Draw the parts."""
        self.vocab_size, self.embed_dim = vocab_size, embed_dim
        self.num_layers = positive_int(num_layers, "num_layers")
        self.num_heads, self.max_seq_len = num_heads, positive_int(max_seq_len, "max_seq_len")
        self.token_embedding = Embedding(vocab_size, embed_dim)
        self.position_embedding = Embedding(max_seq_len, embed_dim)
        self.blocks = [TransformerBlock(embed_dim, num_heads) for _ in range(num_layers)]
        self.ln_f = LayerNorm(embed_dim)
        self.lm_head = Linear(embed_dim, vocab_size, bias=False)

    def forward(self, tokens: Any) -> Tensor:
        """Return logits (B, T, vocab_size) for tokens (B, T); (T,) is taken as one sequence.

        Raises ShapeError for sequences longer than max_seq_len or empty, InvalidValue for tokens
        outside of the vocabulary.
        """
        numbers = self._tokens(tokens)
        length = numbers.shape[1]
        if not 0 < length <= self.max_seq_len:
            raise ShapeError(
                f"GPT takes sequences of 1 to max_seq_len={self.max_seq_len} tokens, got {length}"
            )
        cache = self.kv_cache
        first = cache.begin(*numbers.shape) if cache is not None else 0
        places = np.arange(first, first + length)
        x = self.token_embedding(numbers) + self.position_embedding(places)
        mask = create_causal_mask(length) if length > 1 else None
        for i, block in enumerate(self.blocks):
            x = block(x, mask, None if cache is None else LayerMemory(cache, i))
        return self.lm_head(self.ln_f(x))  # type: ignore[no-any-return]

    def _tokens(self, tokens: Any) -> Array:
        numbers = token_numbers(tokens, self.vocab_size)
        if numbers.ndim == 1:
            numbers = numbers[None]
        if numbers.ndim != 2:
            raise ShapeError(f"GPT takes tokens (B, T), got shape {numbers.shape}")
        return numbers

    def _unseen(self, tokens: Array) -> Array:
        """Return what has to be computed for the next token: the last one, where there's a cache.

        A full cache starts again from what still lies within max_seq_len, as all positions move.
        """
        cache = self.kv_cache
        if cache is not None and 0 < cache.ends_at < self.max_seq_len:
            return tokens[:, -1:]
        if cache is not None:
            cache.reset()
        return tokens[:, -self.max_seq_len :]

    def generate(
        self, prompt_tokens: Any, max_new_tokens: int = 50, temperature: float = 1.0
    ) -> Tensor:
        """Return the prompt (B, T) followed by `max_new_tokens` drawn tokens each, as int64.

        Each is drawn from softmax(logits / temperature); temperature 0 takes the likeliest. What
        lies further back than max_seq_len is not looked at.
        """
        if not temperature >= 0 or max_new_tokens < 0:
            raise InvalidValue(
                f"temperature and max_new_tokens must be at least 0, got {temperature!r} and "
                f"{max_new_tokens!r}"
            )
        tokens = self._tokens(prompt_tokens)
        was = self.training
        self.eval()
        try:
            with no_grad():
                if self.kv_cache is not None:
                    self.kv_cache.reset()
                for _ in range(max_new_tokens):
                    logits = self.forward(self._unseen(tokens))._data[:, -1]
                    drawn = _drawn(logits, temperature)
                    tokens = np.concatenate([tokens, drawn[:, None]], axis=1)
        finally:
            self.train(was)
        return Tensor(tokens, dtype=np.int64)


TinyGPT = GPT


def _drawn(logits: Array, temperature: float) -> Array:
    """Return one class a row, drawn from softmax(logits / temperature)."""
    if temperature == 0:
        return np.asarray(logits.argmax(axis=-1))
    scaled = logits.astype(np.float64) / temperature
    shares = np.exp(scaled - scaled.max(axis=-1, keepdims=True)).cumsum(axis=-1)
    aim = randomness.uniform((len(logits), 1)) * shares[:, -1:]
    return np.asarray(np.minimum((shares <= aim).sum(axis=-1), logits.shape[-1] - 1))
