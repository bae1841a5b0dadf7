"""Transformers: layer norm, the MLP, the block, and GPT."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tinytorch.core import graph, randomness
from tinytorch.core.attention import MultiHeadAttention, create_causal_mask
from tinytorch.core.embeddings import Embedding, token_numbers
from tinytorch.core.generation import Sampling, tokens_of
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

    def logits_after(self, tokens: Array) -> Array:
        """Return the logits (B, vocab_size) that follow tokens (B, T), of any length.

        Where there's a cache, only the last token is computed. A full one starts again from what
        still lies within max_seq_len, as all positions move.
        """
        cache = self.kv_cache
        if cache is not None and 0 < cache.ends_at < self.max_seq_len:
            tokens = tokens[:, -1:]
        elif cache is not None:
            cache.reset()
        logits: Array = self.forward(tokens[:, -self.max_seq_len :])._data[:, -1]
        return logits

    def generate(
        self,
        prompt_tokens: Any,
        max_new_tokens: int = 50,
        temperature: float = 1.0,
        **options: Any,
    ) -> Any:
        """Return the prompt (B, T) followed by `max_new_tokens` drawn tokens each, as int64.

        Each is drawn from softmax(logits / temperature); temperature 0 takes the likeliest. What
        lies further back than max_seq_len is not looked at. The options are those of `stream`.
        Prompts of different lengths are a list of lists; then a list of Tensors (T + new,) returns.
        """
        prompts = self._prompts(prompt_tokens)
        made = list(self.stream(prompt_tokens, max_new_tokens, temperature, **options))
        ends = [len(prompt) + max_new_tokens for prompt in prompts]
        shortest = min(map(len, prompts))
        new = np.array(made, np.int64).reshape(len(made), len(prompts)).T
        whole = [
            np.concatenate([prompt[:shortest], row])[:end]
            for prompt, row, end in zip(prompts, new, ends, strict=True)
        ]
        if len(set(ends)) > 1:
            return [Tensor(row, dtype=np.int64) for row in whole]
        return Tensor(np.array(whole), dtype=np.int64)

    def stream(
        self,
        prompt_tokens: Any,
        max_new_tokens: int = 50,
        temperature: float = 1.0,
        *,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        slides: bool = True,
    ) -> Iterator[Array]:
        """Yield the tokens of one position after the other, int64 (B,), as they are drawn.

        Only the `top_k` likeliest are drawn from, and of these the fewest that have a share `top_p`
        together. With a `seed` the same tokens come again, whatever was drawn before. Prompts of
        different lengths begin together: while one goes on, its own tokens are what is yielded.
        Unless it `slides`, a text that would grow longer than max_seq_len is refused; else what
        lies further back is not looked at. Raises InvalidValue for what is out of range.
        """
        prompts = self._prompts(prompt_tokens)
        longest = max(map(len, prompts)) + max_new_tokens
        if max_new_tokens < 0:
            raise InvalidValue(f"max_new_tokens must be at least 0, got {max_new_tokens!r}")
        if not slides and longest > self.max_seq_len:
            raise InvalidValue(
                f"{longest} tokens don't fit max_seq_len={self.max_seq_len}: ask for fewer, or "
                "pass slides=True to let what lies further back be forgotten"
            )
        draw = randomness.uniform if seed is None else randomness.seeded(seed)
        return self._stream(prompts, max_new_tokens, Sampling(temperature, top_k, top_p, draw))

    def _stream(self, prompts: list[Array], count: int, sampling: Sampling) -> Iterator[Array]:
        was = self.training
        self.eval()
        try:
            with no_grad():
                yield from tokens_of(self, prompts, count, sampling)
        finally:
            self.train(was)

    def _prompts(self, prompts: Any) -> list[Array]:
        """Return one array of tokens for each prompt."""
        ragged = (
            isinstance(prompts, list)
            and all(isinstance(prompt, list | tuple) for prompt in prompts)
            and len({len(prompt) for prompt in prompts}) > 1
        )
        if ragged:
            found = [self._tokens(list(prompt))[0] for prompt in prompts]
        else:
            found = list(self._tokens(prompts))
        if not found or not all(len(prompt) for prompt in found):
            raise InvalidValue("a prompt must hold at least one token")
        return found


TinyGPT = GPT
