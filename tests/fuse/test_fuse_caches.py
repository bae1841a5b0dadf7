"""Results written past the caches, and programs repeated within the first one."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tinytorch.errors import InvalidValue
from tinytorch.fuse import fuse, incache, plan
from tinytorch.fuse.incache import in_cache
from tinytorch.native import codecache, level, threads


def rms_norm(x, gain):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-6) * gain


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def rows(count: int, width: int, dtype: Any = np.float32) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((count, width)).astype(dtype), np.linspace(1, 2, width).astype(dtype)


@pytest.fixture
def small_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have calls of 8 KiB and more take no room in the last cache for their results."""
    monkeypatch.setattr(plan, "last_cache_bytes", lambda: 8192)


# ------------------------------------------------------------------------------- past the caches


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [7, 64, 1001])
def test_lines_written_past_the_caches_are_all_there(
    dtype: str, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, gain = rows(300, width, dtype)
    want = fuse(rms_norm)(x, gain)
    monkeypatch.setattr(plan, "last_cache_bytes", lambda: 8192)
    fused = fuse(rms_norm)
    assert "loops.past_caches(out0, " in fused.explain(x, gain).source
    for lead in (0, 1, 5):  # a result that starts anywhere in a line, and what lies beside it
        room = np.full(x.size + 2 * 16, 7, dtype)
        out = room[lead : lead + x.size].reshape(x.shape)
        assert fused(x, gain, out=out) is out
        np.testing.assert_array_equal(out, want)
        assert (np.delete(room, slice(lead, lead + x.size)) == 7).all()


@pytest.mark.skipif(level.isa() not in ("avx2", "avx512"), reason="looks for x86 instructions")
def test_stores_past_the_caches_are_of_whole_vectors(small_cache: None) -> None:
    x, gain = rows(64, 64)
    fused = fuse(rms_norm)
    fused(x, gain)
    code = next(iter(next(iter(fused._programs.values())).compiled.values()))
    flat = x.reshape(-1)
    asm = codecache.assembly(
        code.serial, flat, gain, np.empty_like(flat), 64, 64, np.float32(64), 1
    )
    assert len(re.findall(r"vmovntp[sd]\s+%[yz]mm", asm)) >= 64 // level.vector_bytes()


def test_only_what_waits_for_memory_and_is_nobody_s_input_goes_past(small_cache: None) -> None:
    def source(function: Any, *arguments: Any) -> str:
        fused = fuse(function)
        fused(*arguments)
        return str(fused.explain(*arguments).source)

    few, many = rows(8, 64), rows(64, 64)
    assert "past_caches" not in source(rms_norm, *few)  # it fits
    assert "past_caches" in source(rms_norm, *many)
    assert "past_caches" not in source(softmax, many[0])  # it waits for exponentials
    assert "past_caches" not in source(lambda x: x + 1, many[0])  # it has no passes over rows
    fused, (x, gain) = fuse(rms_norm), many
    want = fused(x, gain)
    np.testing.assert_array_equal(fused(x, gain, out=x), want)
    assert [v.past for v in next(iter(fused._programs.values())).compiled] == [True, False]


# --------------------------------------------------------------------------------- in the first


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
