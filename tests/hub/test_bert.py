"""The encoder against the same formulas in float64, written out once more, sequence by sequence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_bert import CONFIG, tensors, write_model

import tinytorch
from tinytorch import hub
from tinytorch.backends import use_backend
from tinytorch.cli.embed import installed_model
from tinytorch.errors import InvalidValue, ShapeError, UnknownName
from tinytorch.native import threads

Array = np.ndarray[Any, Any]
SENTENCES = ["w1 w2 w3", "w4", "w9 w8 w7 w6 w5", "w10 w11 w12", ""]

_erf = np.frompyfunc(math.erf, 1, 1)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


def _norm(x: Array, named: Mapping[str, Array], name: str, eps: float) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
    return scaled * named[f"{name}.weight"] + named[f"{name}.bias"]


def _states(ids: list[int], named: Mapping[str, Array], config: Mapping[str, Any]) -> Array:
    def dense(x: Array, name: str) -> Array:
        return x @ named[f"{name}.weight"].T + named[f"{name}.bias"]

    eps, heads = config["layer_norm_eps"], config["num_attention_heads"]
    x = named["embeddings.word_embeddings.weight"][ids]
    x = x + named["embeddings.position_embeddings.weight"][: len(ids)]
    x = x + named["embeddings.token_type_embeddings.weight"][0]
    x = _norm(x, named, "embeddings.LayerNorm", eps)
    for i in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{i}"
        q, k, v = (
            dense(x, f"{name}.attention.self.{part}").reshape(len(ids), heads, -1).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        scores = np.exp(q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1]))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ v
        mixed = dense(mixed.swapaxes(0, 1).reshape(len(ids), -1), f"{name}.attention.output.dense")
        x = _norm(x + mixed, named, f"{name}.attention.output.LayerNorm", eps)
        inner = dense(x, f"{name}.intermediate.dense")
        inner = inner * 0.5 * (1 + _erf(inner / math.sqrt(2)).astype(np.float64))
        x = _norm(x + dense(inner, f"{name}.output.dense"), named, f"{name}.output.LayerNorm", eps)
    return x


def _embedded(ids: list[int], named: Mapping[str, Array], config: Mapping[str, Any]) -> Array:
    mean = _states(ids, named, config).mean(0)
    return mean / np.linalg.norm(mean)


def _exact(named: Mapping[str, Array]) -> dict[str, Array]:
    return {name: tensor.astype(np.float64) for name, tensor in named.items()}


@pytest.mark.parametrize("backend", ["numpy", "auto"])
def test_embeddings_are_those_of_the_formulas(model: Path, backend: str) -> None:
    encoder = hub.load(model)
    named = _exact(tensors())
    with tinytorch.use_backend(backend):
        found = encoder.embed(SENTENCES)
    assert found.shape == (5, CONFIG["hidden_size"])
    assert found.dtype == np.float32
    for vector, ids in zip(found, encoder.tokenizer.encode(SENTENCES), strict=True):
        np.testing.assert_allclose(vector, _embedded(ids, named, CONFIG), atol=1e-5)


def test_int8_comes_near(model: Path) -> None:
    exact, coded = (
        hub.load(model, precision).embed(SENTENCES) for precision in ("float32", "int8")
    )
    similar = np.sum(exact * coded, axis=1)
    assert (similar > 0.99).all()
    assert not np.array_equal(exact, coded)
    with pytest.raises(UnknownName, match="did you mean 'int8'"):
        hub.load(model, "int4")


def test_a_text_does_not_depend_on_its_company(model: Path) -> None:
    encoder = hub.load(model)
    together = encoder.embed(SENTENCES)
    alone = np.concatenate([encoder.embed([text]) for text in SENTENCES])
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize(
    "lengths",
    [[40], [3, 30, 7, 2], [1] * 9, [38] * 8, [40, 1, 39, 33, 40, 12, 40, 25, 5], [40, 40, 2]],
    ids=["one", "few", "ones", "even", "uneven", "cut"],
)
def test_results_depend_neither_on_threads_nor_on_how_the_work_is_cut(
    model: Path, precision: str, lengths: list[int]
) -> None:
    rng = np.random.default_rng(0)
    encoder = hub.load(model, precision)
    assert encoder._compiled is not None
    sequences = [rng.integers(0, 60, length).tolist() for length in lengths]
    with threads.use_threads(1):
        wanted = np.concatenate(encoder.forward(sequences))
    found = np.concatenate(encoder.forward(sequences))
    np.testing.assert_array_equal(found, wanted)
    with use_backend("numpy"):
        by_ops = np.concatenate(encoder.forward(sequences))
        exact = np.concatenate(hub.load(model).forward(sequences))
    if precision == "float32":
        np.testing.assert_allclose(found, by_ops, atol=1e-4)
    else:  # other codes, of scales of their own: as far from the exact states as those of ops
        assert np.std(found - exact) <= 1.25 * np.std(by_ops - exact)
        assert np.std(found - exact) < 0.25 * np.std(exact)


def test_uneven_channels_are_evened_out(model: Path) -> None:
    from tinytorch.hub.coding import _factors

    weight = np.random.default_rng(0).standard_normal((48, 16)).astype(np.float32)
    largest = np.ones(48, np.float32)
    largest[7] = 100
    factors = _factors(largest, weight)
    assert factors.argmax() == 7 and np.isclose(np.log(factors).mean(), 0, atol=1e-5)
    spread = np.abs(largest / factors).max() / np.abs(largest / factors).min()
    assert spread < 100 / 3


def test_hidden_states_come_a_sequence_each(model: Path) -> None:
    sequences = [[2, 9, 3], [2, 3], [2, 5, 6, 3]]
    states = hub.load(model).forward(sequences)
    assert [s.shape for s in states] == [(3, 48), (2, 48), (4, 48)]
    for state, ids in zip(states, sequences, strict=True):
        np.testing.assert_allclose(state, _states(ids, _exact(tensors()), CONFIG), atol=1e-4)
    assert hub.load(model).forward([]) == []


def test_a_model_saved_inside_a_larger_one_is_found(tmp_path: Path) -> None:
    inside = hub.load(write_model(tmp_path / "inside", prefix="bert."))
    alone = hub.load(write_model(tmp_path / "alone"))
    np.testing.assert_array_equal(inside.embed(["w1 w2"]), alone.embed(["w1 w2"]))


@pytest.mark.parametrize(
    ("sequence", "said"),
    [([], "at least one"), ([60], "0 to 59"), ([-1], "0 to 59"), ([2] * 41, "40 positions")],
)
def test_bad_sequences_are_refused(model: Path, sequence: list[int], said: str) -> None:
    with pytest.raises(InvalidValue, match=said):
        hub.load(model).forward([sequence])


def test_one_string_is_not_a_list_of_texts(model: Path) -> None:
    with pytest.raises(InvalidValue, match="list of strings"):
        hub.load(model).embed("w1 w2")


@pytest.mark.parametrize(
    ("config", "error", "said"),
    [
        ({"model_type": "brt"}, UnknownName, "did you mean 'bert'"),
        ({"model_type": None}, UnknownName, "model_type"),
        ({"hidden_size": 50}, InvalidValue, "50 is no multiple of the 3 heads"),
        ({"num_hidden_layers": 3}, InvalidValue, "encoder.layer.2"),
        ({"intermediate_size": 81}, ShapeError, r"\(80, 48\), and config.json asks for \(81, 48\)"),
        ({"vocab_size": "60"}, InvalidValue, "vocab_size must be a positive int, got '60'"),
        ({"hidden_act": "swish"}, UnknownName, "hidden_act"),
        ({"position_embedding_type": "relative_key"}, InvalidValue, "relative_key"),
    ],
)
def test_a_config_that_does_not_fit_is_a_clear_error(
    tmp_path: Path, config: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        hub.load(write_model(tmp_path / "model", config))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_missing_and_damaged_files_are_clear_errors(model: Path, name: str) -> None:
    whole = (model / name).read_bytes()
    (model / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidValue, match=name):
        hub.load(model)
    (model / name).unlink()
    with pytest.raises(InvalidValue, match=name):
        hub.load(model)


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="no model folder"):
        hub.load(tmp_path / "nothing")


@pytest.mark.skipif(installed_model() is None, reason="the model's package is not installed")
def test_the_real_model_gives_the_embeddings_of_the_formulas() -> None:
    numpy_files = pytest.importorskip("safetensors.numpy")
    folder = installed_model()
    assert folder is not None
    encoder = hub.load(folder)
    texts = ["The quick brown fox jumps over the lazy dog.", "Matrices multiply.", "Why?"]
    named = _exact(numpy_files.load_file(folder / "model.safetensors"))
    config = {"layer_norm_eps": 1e-12, "num_attention_heads": 12, "num_hidden_layers": 6}
    found = encoder.embed(texts)
    for vector, ids in zip(found, encoder.tokenizer.encode(texts), strict=True):
        np.testing.assert_allclose(vector, _embedded(ids, named, config), atol=1e-5)
    short = [*texts, "Thanks!", "Yes.", "no", "How old are you?", "E = mc^2"]
    exact, coded = (hub.load(folder, p).embed(short) for p in ("float32", "int8"))
    assert (np.sum(coded * exact, axis=1) > 0.99).all()  # all are of length 1
