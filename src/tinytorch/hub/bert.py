"""BERT-type encoders: texts to embeddings, without a token of padding.

Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers" (2019): embeddings, then
layers of attention and a two-layer network, each added to its input and normalised. The sequences
of a batch stand one behind the other in one array (tokens, width), so a linear layer never sees a
place that no token fills; only attention has to know where one ends.

Shape letters: T tokens in all, H width, A heads, F width of the inner layer.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinytorch.backends import get_backend
from tinytorch.errors import InvalidValue, UnknownName
from tinytorch.hub.dense import PlainDense, QuantizedDense, is_native, read_dense
from tinytorch.hub.folder import Array, Tokenizer, Weights, read_json, setting
from tinytorch.kernels.attending import attend_ragged

if TYPE_CHECKING:
    from tinytorch.native.encoder.encoder import Encoder as Compiled

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


Dense = PlainDense | QuantizedDense


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


@dataclass(frozen=True)
class Block:
    """One layer of the encoder.

    `project_bias` (H,) is what `project` adds, and what comes through it of the values' bias: the
    mean of values with a bias is the mean without it, and the bias.
    """

    attend: Dense
    project: Dense
    project_bias: Array
    after_attention: Norm
    widen: Dense
    narrow: Dense
    after_network: Norm

    @classmethod
    def read(cls, weights: Weights, number: int, config: Config) -> Block:
        """Read layer `number`."""
        name, H, F = f"encoder.layer.{number}", config.width, config.inner
        heads = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
        project = f"{name}.attention.output.dense"
        through = weights.get(f"{project}.weight", (H, H)) @ weights.get(f"{heads[2]}.bias", (H,))
        return cls(
            read_dense(weights, heads, H, H),
            read_dense(weights, [project], H, H),
            weights.get(f"{project}.bias", (H,)) + through,
            Norm.read(weights, f"{name}.attention.output.LayerNorm", H, config.eps),
            read_dense(weights, [f"{name}.intermediate.dense"], H, F),
            read_dense(weights, [f"{name}.output.dense"], F, H),
            Norm.read(weights, f"{name}.output.LayerNorm", H, config.eps),
        )


class Encoder:
    """A BERT encoder: `embed(texts)`, or `forward(sequences)` for the hidden states of tokens."""

    def __init__(self, config: Config, weights: Weights, tokenizer: Tokenizer) -> None:
        """Read every tensor; raises InvalidValue or ShapeError where one is missing or odd."""
        H = config.width
        self.config, self.tokenizer = config, tokenizer
        self._weights = weights
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
        if not arrays:
            return []
        lengths = [len(array) for array in arrays]
        states = self._states(np.concatenate(arrays), lengths)
        ends = list(itertools.accumulate(lengths))
        return [states[end - n : end] for n, end in zip(lengths, ends, strict=True)]

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

    @functools.cached_property
    def _compiled(self) -> Compiled | None:
        """Return the encoder in compiled code, or None for sizes that it doesn't take."""
        from tinytorch.hub.compiled import compiled

        made = compiled(self)
        self._weights.forget()
        return made

    def _states(self, ids: Array, lengths: list[int]) -> Array:
        """Return the states (T, H) of sequences that stand one behind the other."""
        if is_native() and self._compiled is not None:
            return self._compiled.states(ids.astype(np.int64), lengths)
        places = np.concatenate([self.places[:n] for n in lengths])
        x = self.norm(self.words[ids] + places)
        for block in self.blocks:
            mixed = self._attention(block.attend(x), lengths)
            x = block.after_attention(block.project(mixed, residual=x))
            inner = block.widen(x, self.config.activation)
            x = block.after_network(block.narrow(inner, residual=x))
        return x

    def _attention(self, joined: Array, lengths: list[int]) -> Array:
        """Attend within each sequence; `joined` (T, 3H) holds queries, keys and values."""
        config = self.config
        T, A, d = joined.shape[0], config.heads, config.width // config.heads
        q, k, v = joined.reshape(T, 3, A, d).swapaxes(0, 1)
        out = np.empty((T, A, d), joined.dtype)
        starts = [0, *itertools.accumulate(lengths)]
        if is_native():
            attend_ragged(q, k, v, starts, out)
        else:
            for span in map(slice, starts, starts[1:]):
                heads = (array[span].swapaxes(0, 1) for array in (q, k, v))
                out[span] = get_backend().dispatch("attention", *heads).swapaxes(0, 1)
        return out.reshape(T, config.width)

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
        lengths: Array = np.linalg.norm(means, axis=1, keepdims=True)
        return np.asarray(means / np.maximum(lengths, 1e-12))


def load(folder: Path, config: dict[str, Any], codes: bool = False) -> Encoder:
    """Return the encoder in a folder whose config.json holds `config`; with `codes`, in INT8."""
    checked = Config.of(config, folder / "config.json")
    longest = checked.positions
    limits = folder / "sentence_bert_config.json"
    if limits.is_file():
        longest = min(longest, setting(read_json(limits), limits, "max_seq_length"))
    probe = "embeddings.word_embeddings.weight"
    weights = Weights.open(folder / "model.safetensors", ("", "bert."), probe)
    encoder = Encoder(checked, weights, Tokenizer(folder / "tokenizer.json", longest))
    if not codes:
        return encoder
    from tinytorch.hub.coding import coded

    return coded(encoder)
