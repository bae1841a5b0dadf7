"""The decoder against GPT-2's formulas in float64, written out once more."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinytorch import hub
from tinytorch.errors import InvalidValue, ShapeError, UnknownName

Array = np.ndarray[Any, Any]
CONFIG: dict[str, Any] = {
    "model_type": "gpt2",
    "n_embd": 48,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 32,
    "vocab_size": 43,
    "layer_norm_epsilon": 1e-5,
    "activation_function": "gelu_new",
}


def _tensors() -> dict[str, Array]:
    """Return random tensors by the names that a saved GPT-2 gives them."""
    rng = np.random.default_rng(0)
    H = CONFIG["n_embd"]
    shapes = {
        "wte.weight": (CONFIG["vocab_size"], H),
        "wpe.weight": (CONFIG["n_positions"], H),
        "ln_f.weight": (H,),
        "ln_f.bias": (H,),
    }
    layers = {
        "ln_1": (H,),
        "attn.c_attn": (H, 3 * H),
        "attn.c_proj": (H, H),
        "ln_2": (H,),
        "mlp.c_fc": (H, 4 * H),
        "mlp.c_proj": (4 * H, H),
    }
    for i in range(CONFIG["n_layer"]):
        for name, shape in layers.items():
            shapes[f"h.{i}.{name}.weight"] = shape
            shapes[f"h.{i}.{name}.bias"] = shape[-1:]
    return {
        name: (rng.standard_normal(s) * 0.3 + (".ln_" in name or "ln_f.w" in name)).astype("f4")
        for name, s in shapes.items()
    }


def _write(folder: Path, prefix: str = "", **config: Any) -> Path:
    tokenizers = pytest.importorskip("tokenizers")
    numpy_files = pytest.importorskip("safetensors.numpy")
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**CONFIG, **config}))
    named = {prefix + name: tensor for name, tensor in _tensors().items()}
    numpy_files.save_file(named, folder / "model.safetensors")
    words = {f"w{i}": i for i in range(CONFIG["vocab_size"])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="w0"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return _write(tmp_path / "model")


def _norm(x: Array, named: dict[str, Array], name: str) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * named[f"{name}.weight"] + named[f"{name}.bias"]


def _logits(ids: list[int]) -> Array:
    """Return GPT-2's logits in float64."""
    named = {name: tensor.astype(np.float64) for name, tensor in _tensors().items()}
    T, heads = len(ids), CONFIG["n_head"]

    def dense(x: Array, name: str) -> Array:
        return x @ named[f"{name}.weight"] + named[f"{name}.bias"]

    x = named["wte.weight"][ids] + named["wpe.weight"][:T]
    for i in range(CONFIG["n_layer"]):
        joined = dense(_norm(x, named, f"h.{i}.ln_1"), f"h.{i}.attn.c_attn")
        q, k, v = (p.reshape(T, heads, -1).swapaxes(0, 1) for p in np.split(joined, 3, axis=1))
        scores = q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1])
        scores = np.exp(np.where(np.tril(np.ones((T, T))) > 0, scores, -np.inf))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ v
        x = x + dense(mixed.swapaxes(0, 1).reshape(T, -1), f"h.{i}.attn.c_proj")
        inner = dense(_norm(x, named, f"h.{i}.ln_2"), f"h.{i}.mlp.c_fc")
        inner *= 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (inner + 0.044715 * inner**3)))
        x = x + dense(inner, f"h.{i}.mlp.c_proj")
    return _norm(x, named, "ln_f") @ named["wte.weight"].T


@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_logits_are_those_of_the_formulas(tmp_path: Path, prefix: str) -> None:
    decoder = hub.load(_write(tmp_path / "model", prefix))
    ids = [3, 1, 4, 1, 5, 9, 2, 6]
    np.testing.assert_allclose(decoder.logits(ids), _logits(ids), atol=1e-4)


def test_it_goes_on_with_the_likeliest_words(model: Path) -> None:
    decoder = hub.load(model)
    texts = ["w3 w1 w4", "w7", "w9 w2 w6 w5 w3"]
    found = decoder.generate(texts, 6, temperature=0)
    for text, more in zip(texts, found, strict=True):
        ids = [int(word[1:]) for word in text.split()]
        for _ in range(6):
            ids.append(int(_logits(ids)[-1].argmax()))
        assert [int(word[1:]) for word in more.split()] == ids[-6:]
    assert "".join(decoder.stream("w7", 6, temperature=0)) == found[1]
    assert decoder.generate([]) == []


def test_an_inner_width_and_a_head_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match=r"h.0.mlp.c_fc.weight .* asks for \(48, 64\)"):
        hub.load(_write(tmp_path / "inner", n_inner=64))
    with pytest.raises(InvalidValue, match=r"lacks the tensor 'lm_head.weight'"):
        hub.load(_write(tmp_path / "head", tie_word_embeddings=False))


def test_what_is_no_such_decoder_is_refused(tmp_path: Path, model: Path) -> None:
    with pytest.raises(UnknownName, match="activation_function"):
        hub.load(_write(tmp_path / "act", activation_function="relu"))
    with pytest.raises(InvalidValue, match="scale_attn_by_inverse_layer_idx must be False"):
        hub.load(_write(tmp_path / "scale", scale_attn_by_inverse_layer_idx=True))
    with pytest.raises(InvalidValue, match="no multiple of the 5 heads"):
        hub.load(_write(tmp_path / "heads", n_head=5))
    with pytest.raises(InvalidValue, match="for encoders"):
        hub.load(model, "int8")
    with pytest.raises(InvalidValue, match="list of strings"):
        hub.load(model).generate("w1")
