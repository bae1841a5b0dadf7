"""BERT-type encoders: texts to embeddings, without a token of padding.

Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers" (2019): embeddings, then
layers of attention and a two-layer network, each added to its input and normalised. The sequences
of a batch stand one behind the other in one array (tokens, width), so a linear layer never sees a
place that no token fills; only attention has to know where one ends.

Shape letters: T tokens in all, H width, A heads, F width of the inner layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch.backends import get_backend
from tinytorch.errors import InvalidValue, UnknownName
from tinytorch.hub.folder import Array, Tokenizer, Weights, read_json, setting

_ACTIVATIONS = {"gelu": "gelu_erf", "gelu_new": "gelu", "gelu_pytorch_tanh": "gelu", "relu": "relu"}


@dataclass(frozen=True)
class Config:
    """What config.json says of a BERT."""

    width: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    eps: float
    activation: str

    @classmethod
    def of(cls, config: dict[str, Any], path: Path) -> Config:
        """Check config.json; raises InvalidValue or UnknownName for what this encoder is not."""
        act = config.get("hidden_act", "gelu")
        if act not in _ACTIVATIONS:
            raise UnknownName(f"hidden_act in {path}", act, _ACTIVATIONS)
        if config.get("position_embedding_type", "absolute") != "absolute":
            raise InvalidValue(
                f"{path}: position_embedding_type must be 'absolute', got "
                f"{config['position_embedding_type']!r}"
            )
        found = cls(
            width=setting(config, path, "hidden_size"),
            layers=setting(config, path, "num_hidden_layers"),
            heads=setting(config, path, "num_attention_heads"),
            inner=setting(config, path, "intermediate_size"),
            vocabulary=setting(config, path, "vocab_size"),
            positions=setting(config, path, "max_position_embeddings"),
            eps=setting(config, path, "layer_norm_eps", float),
            activation=_ACTIVATIONS[act],
        )
        if found.width % found.heads:
            raise InvalidValue(
                f"{path}: hidden_size {found.width} is no multiple of the {found.heads} heads"
            )
        return found


@dataclass(frozen=True)
class Dense:
    """A linear layer: weight (K, N), bias (N,)."""

    weight: Array
    bias: Array

    @classmethod
    def read(cls, weights: Weights, name: str, inputs: int, outputs: int) -> Dense:
        """Read `name.weight`, stored as (N, K), and `name.bias`."""
        weight = weights.get(f"{name}.weight", (outputs, inputs))
        return cls(weight.T, weights.get(f"{name}.bias", (outputs,)))

    def __call__(self, x: Array, activation: str = "none") -> Array:
        return get_backend().dispatch("linear", x, self.weight, self.bias, activation=activation)


@dataclass(frozen=True)
class Norm:
    """Layer normalisation of a sum: gain and bias (H,)."""

    gain: Array
    bias: Array
    eps: float

    @classmethod
    def read(cls, weights: Weights, name: str, width: int, eps: float) -> Norm:
        """Read `name.weight` and `name.bias`."""
        gain, bias = (weights.get(f"{name}.{part}", (width,)) for part in ("weight", "bias"))
        return cls(gain, bias, eps)

    def __call__(self, x: Array) -> Array:
        return get_backend().dispatch("layer_norm", x, self.gain, self.bias, eps=self.eps)


def _joined(parts: Sequence[Dense]) -> Dense:
    """Return one layer that computes several of one input, their outputs side by side."""
    weight = np.ascontiguousarray(np.concatenate([p.weight.T for p in parts])).T
    return Dense(weight, np.concatenate([p.bias for p in parts]))


@dataclass(frozen=True)
class Block:
    """One layer of the encoder."""

    attend: Dense
    project: Dense
    after_attention: Norm
    widen: Dense
    narrow: Dense
    after_network: Norm

    @classmethod
    def read(cls, weights: Weights, number: int, config: Config) -> Block:
        """Read layer `number`."""
        name, H, F = f"encoder.layer.{number}", config.width, config.inner
        heads = [
            Dense.read(weights, f"{name}.attention.self.{part}", H, H)
            for part in ("query", "key", "value")
        ]
        return cls(
            _joined(heads),
            Dense.read(weights, f"{name}.attention.output.dense", H, H),
            Norm.read(weights, f"{name}.attention.output.LayerNorm", H, config.eps),
            Dense.read(weights, f"{name}.intermediate.dense", H, F),
            Dense.read(weights, f"{name}.output.dense", F, H),
            Norm.read(weights, f"{name}.output.LayerNorm", H, config.eps),
        )


def _runs(lengths: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Yield, for neighbours of one length: the first token's place, how many, the length."""
    start = first = 0
    for i in range(1, len(lengths) + 1):
        if i == len(lengths) or lengths[i] != lengths[first]:
            yield start, i - first, lengths[first]
            start += (i - first) * lengths[first]
            first = i


class Encoder:
    """A BERT encoder: `embed(texts)`, or `forward(sequences)` for the hidden states of tokens."""

    def __init__(self, config: Config, weights: Weights, tokenizer: Tokenizer) -> None:
        """Read every tensor; raises InvalidValue or ShapeError where one is missing or odd."""
        H = config.width
        self.config, self.tokenizer = config, tokenizer
        self.words = weights.get("embeddings.word_embeddings.weight", (config.vocabulary, H))
        places = weights.get("embeddings.position_embeddings.weight", (config.positions, H))
        kinds = weights.get("embeddings.token_type_embeddings.weight", (None, H))
        self.places = places + kinds[0]  # every token is of the first kind
        self.norm = Norm.read(weights, "embeddings.LayerNorm", H, config.eps)
        self.blocks = [Block.read(weights, i, config) for i in range(config.layers)]

    def forward(self, sequences: Sequence[Sequence[int]]) -> list[Array]:
        """Return the last hidden states of each sequence of token ids: float32 (length, H) each.

        Raises InvalidValue for ids outside the vocabulary, and for sequences that are empty or
        longer than the model's positions.
        """
        arrays = [self._checked(sequence) for sequence in sequences]
        # NOTE: in order of length, so that those of one length are one call of attention.
        order = sorted(range(len(arrays)), key=lambda i: len(arrays[i]))
        lengths = [len(arrays[i]) for i in order]
        if not order:
            return []
        states = self._states(np.concatenate([arrays[i] for i in order]), lengths)
        parts = np.split(states, np.cumsum(lengths)[:-1])
        found = dict(zip(order, parts, strict=True))
        return [found[i] for i in range(len(arrays))]

    def _checked(self, sequence: Sequence[int]) -> Array:
        ids = np.asarray(sequence)
        if ids.ndim != 1 or ids.dtype.kind not in "iu" or not ids.size:
            raise InvalidValue(
                "a sequence must be a list of at least one token id, got "
                f"{ids.dtype} of shape {ids.shape}"
            )
        if ids.size > self.config.positions:
            raise InvalidValue(
                f"a sequence of {ids.size} tokens: this model has {self.config.positions} positions"
            )
        if ids.min() < 0 or ids.max() >= self.config.vocabulary:
            raise InvalidValue(
                f"token ids must be from 0 to {self.config.vocabulary - 1}, got "
                f"{ids.min()} to {ids.max()}"
            )
        return ids

    def _states(self, ids: Array, lengths: list[int]) -> Array:
        """Return the states (T, H) of sequences that stand one behind the other."""
        places = np.concatenate([self.places[:n] for n in lengths])
        x = self.norm(self.words[ids] + places)
        for block in self.blocks:
            mixed = block.project(self._attention(block.attend(x), lengths))
            x = block.after_attention(x + mixed)
            inner = block.widen(x, self.config.activation)
            x = block.after_network(x + block.narrow(inner))
        return x

    def _attention(self, joined: Array, lengths: list[int]) -> Array:
        """Attend within each sequence; `joined` (T, 3H) holds queries, keys and values."""
        config = self.config
        out = np.empty((joined.shape[0], config.width), joined.dtype)
        for start, count, length in _runs(lengths):
            rows = slice(start, start + count * length)
            heads = (count, length, 3, config.heads, config.width // config.heads)
            q, k, v = joined[rows].reshape(heads).transpose(2, 0, 3, 1, 4)
            target = out[rows].reshape(count, length, config.heads, -1).transpose(0, 2, 1, 3)
            get_backend().dispatch("attention", q, k, v, out=target)
        return out

    def embed(self, texts: Sequence[str]) -> Array:
        """Return one vector a text, float32 (texts, H): the mean over its tokens, of length 1.

        Raises InvalidValue for what is not a list of strings.
        """
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise InvalidValue("embed takes a list of strings: pass [text] for one")
        states = self.forward(self.tokenizer.encode(list(texts)))
        if not states:
            return np.empty((0, self.config.width), np.float32)
        means: Array = np.stack([state.mean(axis=0) for state in states])
        return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)


def load(folder: Path, config: dict[str, Any]) -> Encoder:
    """Return the encoder in a folder whose config.json holds `config`."""
    checked = Config.of(config, folder / "config.json")
    longest = checked.positions
    limits = folder / "sentence_bert_config.json"
    if limits.is_file():
        longest = min(longest, setting(read_json(limits), limits, "max_seq_length"))
    probe = "embeddings.word_embeddings.weight"
    weights = Weights.open(folder / "model.safetensors", ("", "bert."), probe)
    return Encoder(checked, weights, Tokenizer(folder / "tokenizer.json", longest))
