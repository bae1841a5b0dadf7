"""GPT-2-type decoders: text that goes on, from weights as Hugging Face saves them.

Radford et al., "Language Models are Unsupervised Multitask Learners" (2019): norms before attention
and before the MLP, GELU in its tanh form, and a head that is the embedding of words once more. The
model itself is `tinytorch.GPT`, so it can be generated from, profiled and trained further.

Shape letters: V vocabulary, P positions, H width, F width of the inner layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch.core import randomness
from tinytorch.core.kvcache import KVCache
from tinytorch.core.transformers import GPT, MLP
from tinytorch.errors import InvalidValue, UnknownName
from tinytorch.hub.folder import Array, Tokenizer, Weights, setting

_ACTIVATIONS = ("gelu_new", "gelu_pytorch_tanh")


@dataclass(frozen=True)
class Config:
    """What config.json says of a GPT-2."""

    width: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    eps: float
    is_tied: bool

    @classmethod
    def of(cls, config: dict[str, Any], path: Path) -> Config:
        """Check config.json; raises InvalidValue or UnknownName for what this decoder is not."""
        act = config.get("activation_function", _ACTIVATIONS[0])
        if act not in _ACTIVATIONS:
            raise UnknownName(f"activation_function in {path}", act, _ACTIVATIONS)
        for name, wanted in (
            ("scale_attn_weights", True),
            ("scale_attn_by_inverse_layer_idx", False),
            ("add_cross_attention", False),
        ):
            if config.get(name, wanted) is not wanted:
                raise InvalidValue(f"{path}: {name} must be {wanted}, got {config[name]!r}")
        width = setting(config, path, "n_embd")
        has_inner = config.get("n_inner") is not None
        found = cls(
            width=width,
            layers=setting(config, path, "n_layer"),
            heads=setting(config, path, "n_head"),
            inner=setting(config, path, "n_inner") if has_inner else 4 * width,
            vocabulary=setting(config, path, "vocab_size"),
            positions=setting(config, path, "n_positions"),
            eps=setting(config, path, "layer_norm_epsilon", float),
            is_tied=config.get("tie_word_embeddings", True) is not False,
        )
        if found.width % found.heads:
            raise InvalidValue(
                f"{path}: n_embd {found.width} is no multiple of the {found.heads} heads"
            )
        return found


class _Zeros(np.random.RandomState):
    """Draws zeros, which cost nothing: every weight is read from the file."""

    def standard_normal(self, size: Any = None) -> Any:
        return np.zeros(size)

    def random_sample(self, size: Any = None) -> Any:
        return np.zeros(size)


def _model(config: Config, weights: Weights) -> GPT:
    """Return a GPT with the file's weights."""
    H, F = config.width, config.inner
    with randomness.drawing_from(_Zeros()):
        model = GPT(config.vocabulary, H, config.layers, config.heads, config.positions)
        if F != 4 * H:
            for block in model.blocks:
                block.mlp = MLP(H, F)
    words = weights.get("wte.weight", (config.vocabulary, H))
    named = {
        "token_embedding.weight": words,
        "position_embedding.weight": weights.get("wpe.weight", (config.positions, H)),
        "lm_head.weight": _head(config, weights, words),
        **_norm(weights, "ln_f", "ln_f", H),
    }
    model.ln_f.eps = config.eps
    for i, block in enumerate(model.blocks):
        block.ln1.eps = block.ln2.eps = config.eps
        named |= _block(weights, i, H, F)
    model.load_state_dict(named)
    model.eval()
    return model


def _head(config: Config, weights: Weights, words: Array) -> Array:
    """Return the weight (H, V) that makes logits: the embedding of words, unless it is another."""
    if config.is_tied:
        return np.ascontiguousarray(words.T)
    own = Weights(weights.path, weights.tensors, weights.file)  # outside of the prefix
    return np.ascontiguousarray(own.get("lm_head.weight", words.shape).T)


def _norm(weights: Weights, name: str, ours: str, width: int) -> dict[str, Array]:
    gain, shift = (weights.get(f"{name}.{part}", (width,)) for part in ("weight", "bias"))
    return {f"{ours}.gamma": gain, f"{ours}.beta": shift}


def _block(weights: Weights, number: int, H: int, F: int) -> dict[str, Array]:
    """Return a layer's tensors by our names; the file's weights are (in, out), as ours are."""
    theirs, ours = f"h.{number}", f"blocks.{number}"
    named = _norm(weights, f"{theirs}.ln_1", f"{ours}.ln1", H)
    named |= _norm(weights, f"{theirs}.ln_2", f"{ours}.ln2", H)
    joined = weights.get(f"{theirs}.attn.c_attn.weight", (H, 3 * H))
    biases = weights.get(f"{theirs}.attn.c_attn.bias", (3 * H,))
    for i, part in enumerate("qkv"):
        own = slice(i * H, (i + 1) * H)
        named[f"{ours}.attention.{part}_proj.weight"] = np.ascontiguousarray(joined[:, own])
        named[f"{ours}.attention.{part}_proj.bias"] = biases[own]
    for name, layer, shape in (
        ("attention.out_proj", "attn.c_proj", (H, H)),
        ("mlp.linear1", "mlp.c_fc", (H, F)),
        ("mlp.linear2", "mlp.c_proj", (F, H)),
    ):
        named[f"{ours}.{name}.weight"] = weights.get(f"{theirs}.{layer}.weight", shape)
        named[f"{ours}.{name}.bias"] = weights.get(f"{theirs}.{layer}.bias", shape[1:])
    return named


class Decoder:
    """A GPT-2: `generate(texts)`, `stream(text)`, or `logits(ids)`; `model` is the GPT itself."""

    def __init__(self, config: Config, weights: Weights, tokenizer: Tokenizer) -> None:
        """Read every tensor; raises InvalidValue or ShapeError where one is missing or odd."""
        self.config, self.tokenizer = config, tokenizer
        self.model = _model(config, weights)

    def logits(self, ids: Sequence[int]) -> Array:
        """Return the logits (T, V) after each of T token ids, float32.

        Raises ShapeError or InvalidValue for too many, or for ids outside of the vocabulary.
        """
        from tinytorch.core.graph import no_grad

        kept, self.model.kv_cache = self.model.kv_cache, None
        try:
            with no_grad():
                return np.asarray(self.model(np.asarray(ids)[None]).numpy()[0])
        finally:
            self.model.kv_cache = kept

    def generate(
        self,
        texts: Sequence[str],
        max_new_tokens: int = 50,
        temperature: float = 1.0,
        **options: Any,
    ) -> list[str]:
        """Return what each text goes on with, of `max_new_tokens` tokens, as `GPT.stream` draws.

        Raises InvalidValue for what is not a list of strings, or for a text of no token.
        """
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise InvalidValue("generate takes a list of strings: pass [text] for one")
        prompts = self.tokenizer.encode(list(texts))
        if not prompts:
            return []
        self._remember()
        made = self.model.generate(prompts, max_new_tokens, temperature, **options)
        rows = made if isinstance(made, list) else list(made.numpy())
        return [
            self.tokenizer.decode(np.asarray(getattr(row, "_data", row))[len(prompt) :].tolist())
            for row, prompt in zip(rows, prompts, strict=True)
        ]

    def stream(self, text: str, max_new_tokens: int = 50, **options: Any) -> Iterator[str]:
        """Yield what a text goes on with, piece by piece; the options are those of `GPT.stream`."""
        (prompt,) = self.tokenizer.encode([text])
        self._remember()
        ids: list[int] = []
        said = ""
        for token in self.model.stream([prompt], max_new_tokens, **options):
            ids.append(int(token[0]))
            whole = self.tokenizer.decode(ids)
            # A character may be several tokens: until the last, it reads as one that is not known.
            if not whole.endswith("\N{REPLACEMENT CHARACTER}"):
                yield whole[len(said) :]
                said = whole

    def _remember(self) -> None:
        if self.model.kv_cache is None:
            config = self.config
            d = config.width // config.heads
            self.model.kv_cache = KVCache(1, config.positions, config.layers, config.heads, d)


def load(folder: Path, config: dict[str, Any], codes: bool = False) -> Decoder:
    """Return the decoder in a folder whose config.json holds `config`."""
    if codes:
        raise InvalidValue(
            "a GPT-2 is loaded in float32: precision='int8' is for encoders; quantize its `model` "
            "with tinytorch.perf.quantization.quantize_model"
        )
    checked = Config.of(config, folder / "config.json")
    weights = Weights.open(folder / "model.safetensors", ("", "transformer."), "wte.weight")
    return Decoder(checked, weights, Tokenizer(folder / "tokenizer.json", checked.positions))
