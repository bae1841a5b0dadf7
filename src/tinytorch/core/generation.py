"""Text from a GPT, token by token: what is drawn, and how the next logits are come by.

Greedy, by temperature, among the k likeliest (Fan et al., 2018), or among the fewest that have a
share p together (Holtzman et al., 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tinytorch.backends import get_backend
from tinytorch.core import randomness
from tinytorch.errors import InvalidValue
from tinytorch.ops.spec import Array

if TYPE_CHECKING:
    from tinytorch.core.transformers import GPT
    from tinytorch.native.decoder.decoder import Decoder

__all__ = ["Sampling", "tokens_of"]

# Backends that lead to our own kernels, and so to the compiled step.
_OURS = ("auto", "native")


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn from logits.

    temperature: logits are divided by it; 0 takes the likeliest. top_k: only the k likeliest are
    drawn from. top_p: only the fewest whose shares come to p, the likeliest first. draw: takes a
    shape and returns even numbers from 0 to 1; by default from the global generator.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    draw: Callable[[tuple[int, ...]], Array] = randomness.uniform

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise InvalidValue(f"temperature must be at least 0, got {self.temperature!r}")
        if self.top_k is not None and not (isinstance(self.top_k, int) and self.top_k >= 1):
            raise InvalidValue(f"top_k must be an int of at least 1, got {self.top_k!r}")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise InvalidValue(f"top_p must be above 0 and at most 1, got {self.top_p!r}")

    def __call__(self, logits: Array) -> Array:
        """Return one class a row of logits (B, classes), int64."""
        if self.temperature == 0 or self.top_k == 1:
            return np.asarray(logits.argmax(axis=-1))
        scaled = logits.astype(np.float64) / self.temperature
        shares = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
        if self.top_k is not None or self.top_p is not None:
            shares = self._cut(shares)
        shares = shares.cumsum(axis=-1)
        aim = self.draw((len(logits), 1)) * shares[:, -1:]
        return np.asarray(np.minimum((shares <= aim).sum(axis=-1), logits.shape[-1] - 1))

    def _cut(self, shares: Array) -> Array:
        """Return the shares with those that may not be drawn made 0."""
        order = np.argsort(-shares, axis=-1, kind="stable")
        sorted_shares = np.take_along_axis(shares, order, axis=-1)
        if self.top_k is not None:
            sorted_shares[:, self.top_k :] = 0
        if self.top_p is not None:
            before = sorted_shares.cumsum(axis=-1) - sorted_shares
            total = sorted_shares.sum(axis=-1, keepdims=True)
            sorted_shares[before >= self.top_p * total] = 0
        kept = np.empty_like(shares)
        np.put_along_axis(kept, order, sorted_shares, axis=-1)
        return kept


def tokens_of(model: GPT, prompts: list[Array], count: int, sampling: Sampling) -> Iterator[Array]:
    """Yield the tokens (B,) from behind the shortest prompt to `count` behind the longest.

    Where a prompt goes on, its own token is what is yielded. Runs as fast as the model's cache and
    the backend allow; positions beyond max_seq_len slide, as GPT.generate says.
    """
    shortest, longest = min(map(len, prompts)), max(map(len, prompts))
    tokens = np.zeros((len(prompts), longest + count), np.int64)
    for row, prompt in zip(tokens, prompts, strict=True):
        row[: len(prompt)] = prompt
    lengths = np.array([len(prompt) for prompt in prompts])
    if model.kv_cache is not None:
        model.kv_cache.reset()
    step: Decoder | None = None
    for end in range(shortest, longest + count):
        cache = model.kv_cache
        if cache is None or not 0 < cache.ends_at < model.max_seq_len:
            logits = model.logits_after(tokens[:, :end])
        else:
            if end == shortest + 1:
                step = _compiled(model)
            if step is None:
                logits = model.logits_after(tokens[:, :end])
            else:
                logits = step.step(tokens[:, end - 1], cache.ends_at)
                cache.keep_one()
        drawn = sampling(logits)
        own = lengths > end
        tokens[:, end] = np.where(own, tokens[:, end], drawn) if own.any() else drawn
        yield tokens[:, end].copy()


def _compiled(model: GPT) -> Decoder | None:
    """Return the model's step in compiled code; None without a cache, or for what it can't take."""
    cache = model.kv_cache
    if cache is None or get_backend().name not in _OURS:
        return None
    from tinytorch.native.decoder.decoder import Decoder, takes

    inner = model.blocks[0].mlp.linear1.out_features
    floats = all(parameter.dtype == np.float32 for parameter in model.parameters())
    if not (floats and takes(model.embed_dim, inner) and _is_plain(model)):
        return None
    return Decoder(_parts(model), cache.room)


def _is_plain(model: GPT) -> bool:
    """Say whether every part of the model is of the class that it was made with."""
    from tinytorch.core.layers import Linear
    from tinytorch.core.transformers import GPT, LayerNorm, TransformerBlock

    blocks = model.blocks
    linears = [model.lm_head, *(part for block in blocks for part in _linears(block))]
    norms = [model.ln_f, *(norm for block in blocks for norm in (block.ln1, block.ln2))]
    return (
        type(model) is GPT
        and all(type(block) is TransformerBlock for block in blocks)
        and all(type(linear) is Linear for linear in linears)
        and all(type(norm) is LayerNorm and norm.eps == model.ln_f.eps for norm in norms)
        and model.lm_head.bias is None
    )


def _linears(block: Any) -> tuple[Any, ...]:
    attention, mlp = block.attention, block.mlp
    joined = (attention.q_proj, attention.k_proj, attention.v_proj)
    return (*joined, attention.out_proj, mlp.linear1, mlp.linear2)


def _pair(*layers: Any) -> tuple[Array, Array]:
    """Return the weights and biases of linear layers, side by side."""
    weights = [layer.weight._data for layer in layers]
    widths = [weight.shape[1] for weight in weights]
    biases = [
        np.zeros(width, np.float32) if layer.bias is None else layer.bias._data
        for layer, width in zip(layers, widths, strict=True)
    ]
    if len(layers) == 1:
        return weights[0], biases[0]
    return np.concatenate(weights, axis=1), np.concatenate(biases)


def _parts(model: GPT) -> Any:
    """Return the model's weights as the compiled step takes them."""
    from tinytorch.native.decoder.decoder import Model

    layers: list[tuple[Array, Array]] = []
    norms = []
    for block in model.blocks:
        q, k, v, *rest = _linears(block)
        layers += [_pair(q, k, v), *(_pair(layer) for layer in rest)]
        norms += [block.ln1, block.ln2]
    norms.append(model.ln_f)
    return Model(
        words=model.token_embedding.weight._data,
        places=model.position_embedding.weight._data,
        norms=[(norm.gamma._data, norm.beta._data) for norm in norms],
        layers=layers,
        head=model.lm_head.weight._data,
        heads=model.num_heads,
        eps=model.ln_f.eps,
    )
