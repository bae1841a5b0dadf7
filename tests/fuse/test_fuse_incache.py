"""Programs repeated within the first cache: their instructions alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinytorch.errors import InvalidValue
from tinytorch.fuse import fuse, incache
from tinytorch.fuse.incache import in_cache
from tinytorch.native import threads


def rms_norm(x, gain):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-6) * gain


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def rows(count: int, width: int, dtype: Any = np.float32) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((count, width)).astype(dtype), np.linspace(1, 2, width).astype(dtype)


def test_rows_that_stay_in_the_first_cache_do_as_many_elements() -> None:
    x, gain = rows(512, 1024)
    fused = fuse(rms_norm)
    found = in_cache(fused, (x, gain))
    room = incache._first_cache_bytes()
    assert found.rows * 2 * 4096 + 4096 <= room < 2 * (found.rows * 2 * 4096 + 4096) * 1.5
    assert found.share == pytest.approx(1)
    found.run()


@pytest.mark.parametrize("count", sorted({1, threads.usable_cpus()}))
def test_each_thread_repeats_the_program_on_its_own_rows(count: int) -> None:
    """Each repeat adds one to each element that lies in the caches, in place."""
    with threads.use_threads(count):
        x = np.zeros(1 << 16, np.float32)
        plus_one = fuse(lambda x: x + 1)
        found = in_cache(plus_one, (x,), updates=(0,))
        assert not x.any()
        found.run()
        (own,) = found.operands
        repeats = round(found.share * x.size / (found.rows * count))
        seen, times = np.unique(own[own > 0], return_counts=True)
        assert seen.tolist() == [repeats] and times.tolist() == [found.rows * count]
        assert not x.any()


def test_explain_tells_computing_from_moving() -> None:
    x, gain = rows(256, 1024)
    found = fuse(rms_norm).explain(x, gain, measure=True)
    assert found.computing_seconds is not None and found.computing_seconds > 0
    assert "its instructions alone" in str(found)
    assert fuse(rms_norm).explain(x[:2], gain, measure=True).computing_seconds is None


def test_what_does_not_fit_or_has_gaps_is_refused() -> None:
    wide = np.ones((4, 1 << 20), np.float32)
    with pytest.raises(InvalidValue, match="must fit"):
        in_cache(fuse(softmax), (wide,))
    with pytest.raises(InvalidValue, match="without gaps"):
        in_cache(fuse(softmax), (wide[:, ::2],))
    with pytest.raises(InvalidValue, match="one row"):
        in_cache(fuse(softmax), (wide[:1, :64],))
