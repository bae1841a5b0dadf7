"""Generating: what is drawn, from prompts of any length, with the compiled step."""

from __future__ import annotations

import numpy as np
import pytest

import tinytorch
from tinytorch import GPT, use_backend
from tinytorch.core.autograd import no_grad
from tinytorch.core.generation import Sampling, _compiled
from tinytorch.errors import InvalidValue
from tinytorch.perf.memoization import enable_kv_cache


def _cached_gpt() -> GPT:
    tinytorch.manual_seed(0)
    model = GPT(31, 48, 2, 3, max_seq_len=20)  # 48: whole vectors on every CPU
    for parameter in model.parameters():
        parameter._data *= 2
    enable_kv_cache(model)
    return model


def test_prompts_of_different_lengths_go_on_as_each_alone() -> None:
    model = _cached_gpt()
    prompts = [[1, 2, 3], [4], [5, 6, 7, 8, 9]]
    together = model.generate(prompts, 7, temperature=0)
    for prompt, found in zip(prompts, together, strict=True):
        alone = model.generate(prompt, 7, temperature=0)
        assert found.tolist() == alone.tolist()[0] and found.shape == (len(prompt) + 7,)


def test_tokens_stream_as_they_are_drawn() -> None:
    model = _cached_gpt()
    whole = model.generate([[1, 2], [3, 4]], 5, temperature=0).numpy()
    pieces = list(model.stream([[1, 2], [3, 4]], 5, temperature=0))
    np.testing.assert_array_equal(np.stack(pieces, axis=1), whole[:, 2:])
    assert model.training  # as it was
    some = model.stream([1], 5)
    assert next(some).shape == (1,)
    some.close()
    assert model.training


def test_a_seed_draws_the_same_whatever_was_drawn_before() -> None:
    model = _cached_gpt()
    first = model.generate([1], 9, seed=5).tolist()
    np.random.random_sample(3)
    assert model.generate([1], 9, seed=5).tolist() == first
    assert model.generate([1], 9, seed=6).tolist() != first


def test_drawing_from_the_likeliest_only() -> None:
    shares = np.array([0.05, 0.4, 0.15, 0.3, 0.1])
    logits = np.log(np.tile(shares, (20_000, 1)))
    for sampling, kept in (
        (Sampling(top_k=2), [1, 3]),
        (Sampling(top_p=0.5), [1, 3]),
        (Sampling(top_p=0.39), [1]),
        (Sampling(top_p=0.75), [1, 2, 3]),
        (Sampling(top_k=4, top_p=1.0), [1, 2, 3, 4]),
        (Sampling(top_k=1), [1]),
    ):
        counts = np.bincount(sampling(logits), minlength=5) / len(logits)
        wanted = np.where(np.isin(np.arange(5), kept), shares, 0)
        np.testing.assert_allclose(counts, wanted / wanted.sum(), atol=0.02)
    for bad in ({"top_k": 0}, {"top_k": 1.5}, {"top_p": 0}, {"top_p": 1.1}, {"temperature": -1}):
        with pytest.raises(InvalidValue, match=next(iter(bad))):
            Sampling(**bad)  # type: ignore[arg-type]


def test_longer_than_the_positions_is_refused_unless_it_slides() -> None:
    model = _cached_gpt()
    with pytest.raises(InvalidValue, match="23 tokens don't fit max_seq_len=20"):
        model.generate([1, 2, 3], 20, slides=False)
    assert model.generate([1, 2, 3], 20, slides=True).shape == (1, 23)
    with pytest.raises(InvalidValue, match="at least one token"):
        model.generate([[1], []], 3)


@pytest.mark.parametrize("batch", [1, 3])
def test_the_compiled_step_gives_the_logits_of_a_forward(batch: int) -> None:
    model = _cached_gpt()
    tokens = np.random.default_rng(0).integers(0, 31, (batch, 9))
    with no_grad(), use_backend("native"):
        wanted = model(tokens).numpy()
        model(tokens[:, :4])
        step = _compiled(model)
        assert step is not None and model.kv_cache is not None
        for t in range(4, 9):
            found = step.step(tokens[:, t], model.kv_cache.ends_at)
            model.kv_cache.keep_one()
            size = np.abs(wanted).max()
            np.testing.assert_allclose(found, wanted[:, t], atol=5e-6 * size)
    with use_backend("numpy"):
        assert _compiled(model) is None
