"""The KV cache: the same logits and tokens as without it, and clear errors at its edges."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tinytorch
from tinytorch import GPT, Tensor, ops
from tinytorch.backends import get_backend
from tinytorch.core.autograd import no_grad
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.perf.memoization import (
    Growth,
    KVCache,
    disable_kv_cache,
    enable_kv_cache,
    measure_growth,
)


def _model(length: int = 24) -> GPT:
    tinytorch.manual_seed(0)
    return GPT(vocab_size=31, embed_dim=24, num_layers=2, num_heads=3, max_seq_len=length)


def _tokens(batch: int, length: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 31, (batch, length))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("prompt", [1, 5])
@pytest.mark.parametrize("advances", [False, True], ids=["by itself", "by hand"])
def test_cached_logits_are_the_uncached_ones(batch: int, prompt: int, advances: bool) -> None:
    model, tokens = _model(), _tokens(batch, 12)
    with no_grad():
        wanted = model(tokens).numpy()
        cache = enable_kv_cache(model)
        found = [model(tokens[:, :prompt]).numpy()]
        for t in range(prompt, 12):
            if advances:
                cache.advance()
            found.append(model(tokens[:, t : t + 1]).numpy())
    assert cache.batch_size == batch
    np.testing.assert_allclose(np.concatenate(found, axis=1), wanted, atol=1e-5)
    disable_kv_cache(model)
    with no_grad():
        np.testing.assert_array_equal(model(tokens).numpy(), wanted)


@pytest.mark.parametrize("new", [10, 40], ids=["within", "beyond max_seq_len"])
def test_generation_gives_the_same_tokens(new: int) -> None:
    model, prompt = _model(), _tokens(2, 4)
    without = model.generate(prompt, new, temperature=0).numpy()
    enable_kv_cache(model)
    np.testing.assert_array_equal(model.generate(prompt, new, temperature=0).numpy(), without)
    np.testing.assert_array_equal(model.generate(prompt, new, temperature=0).numpy(), without)


def test_sampling_repeats_under_a_seed() -> None:
    model = _model()
    tinytorch.manual_seed(3)
    without = model.generate(_tokens(1, 3), 15).numpy()
    enable_kv_cache(model)
    tinytorch.manual_seed(3)
    np.testing.assert_array_equal(model.generate(_tokens(1, 3), 15).numpy(), without)


def test_a_token_costs_one_row_whatever_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model()
    enable_kv_cache(model)
    rows = []
    dispatch = type(get_backend()).dispatch

    def counted(self, op, *arrays, **params):  # type: ignore[no-untyped-def]
        if op == "linear":
            rows.append(arrays[0].size // arrays[0].shape[-1])
        return dispatch(self, op, *arrays, **params)

    with no_grad():
        model(_tokens(1, 20))
        monkeypatch.setattr(type(get_backend()), "dispatch", counted)
        model(_tokens(1, 1))
    assert "linear" in ops.names()
    assert set(rows) == {1}


def test_training_goes_on_as_before() -> None:
    model, tokens = _model(), _tokens(2, 6)
    model(tokens).sum().backward()
    wanted = [p.grad.copy() for p in model.parameters()]
    for parameter in model.parameters():
        parameter.zero_grad()
    enable_kv_cache(model)
    model(tokens).sum().backward()
    for parameter, gradient in zip(model.parameters(), wanted, strict=True):
        np.testing.assert_allclose(parameter.grad, gradient, rtol=1e-4, atol=1e-5)


def test_the_cache_by_itself() -> None:
    cache = KVCache(batch_size=2, max_seq_len=3, num_layers=2, num_heads=4, head_dim=5)
    key, value = np.ones((2, 4, 1, 5), np.float32), 2 * np.ones((2, 4, 1, 5), np.float32)
    assert cache.get(0)[0].shape == (2, 4, 0, 5)
    for position in range(3):
        for layer in range(2):
            cache.update(layer, Tensor(key * position), value)
        assert cache.seq_pos == position
        cache.advance()
    keys, values = cache.get(1)
    assert keys.shape == (2, 4, 3, 5)
    np.testing.assert_array_equal(keys.numpy()[0, 0, :, 0], [0, 1, 2])
    np.testing.assert_array_equal(values.numpy(), 2)
    with pytest.raises(InvalidValue, match="cache is full"):
        cache.update(0, key, value)
    cache.reset()
    assert cache.seq_pos == 0
    with pytest.raises(InvalidValue, match="layer index 2"):
        cache.update(2, key, value)
    with pytest.raises(InvalidValue, match="layer index -1"):
        cache.get(-1)
    with pytest.raises(ShapeError, match=r"\(2, 4, n, 5\)"):
        cache.update(0, key[:1], value[:1])


def test_memory_is_counted() -> None:
    use = KVCache(1, 8, 3, 2, 4).get_memory_usage()
    elements = 3 * 2 * 8 * 2 * 4
    assert use["total_elements"] == elements
    assert use["cache_tensors"] == 6
    assert use["total_mb"] == pytest.approx(elements * 4 / 2**20)
    assert use["per_layer_mb"] == pytest.approx(use["total_mb"] / 3)


def test_growth_is_fitted_and_drawn(tmp_path: Path) -> None:
    lengths = (8, 16, 32, 64)
    known = Growth(lengths, tuple(n * 1e-3 for n in lengths), tuple(n**2 * 1e-5 for n in lengths))
    assert known.cached_exponent == pytest.approx(1) and known.uncached_exponent == pytest.approx(2)
    drawn = known.plot(tmp_path / "growth.png").read_bytes()
    assert drawn.startswith(b"\x89PNG")
    assert "without a cache: length^2.00" in str(known.chart())


def test_a_cache_makes_long_texts_grow_less() -> None:
    tinytorch.manual_seed(0)
    model = GPT(vocab_size=31, embed_dim=64, num_layers=2, num_heads=4, max_seq_len=512)
    found = measure_growth(model, (128, 256, 511), repeats=1)
    assert model.kv_cache is None
    assert found.cached_exponent < found.uncached_exponent
    assert found.cached[-1] < found.uncached[-1]
    for lengths in ([5], [0, 5], [5, 512]):
        with pytest.raises(InvalidValue, match="two lengths or more from 1 to 511"):
            measure_growth(model, lengths)


def test_what_is_no_gpt_is_refused() -> None:
    with pytest.raises(InvalidValue, match="for a GPT, got Linear"):
        enable_kv_cache(tinytorch.Linear(2, 2))
