"""Calls whose arrays fill the last cache: results written past it, and rows read two at a time."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tinytorch.fuse import fuse, variant
from tinytorch.measure.caches import Cache
from tinytorch.native import codecache, level, threads

wide_only = pytest.mark.skipif(level.isa() == "v128", reason="needs vectors of 32 bytes")


def root(x):
    return np.sqrt(np.abs(x * x + 2.0))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def rms_norm(x):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-6)


def doubled_and_sum(x):
    return 2 * x, x.sum(axis=-1)


@pytest.fixture
def vast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have arrays of any size be taken to fill the last cache."""
    monkeypatch.setattr(variant, "vast_bytes", lambda: 0)


def source(function: Any, *arrays: Any) -> str:
    return str(fuse(function)._plan(arrays).emit().source)


@pytest.mark.usefixtures("vast")
@pytest.mark.parametrize("function", [root, softmax, rms_norm])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_results_are_right_wherever_lines_begin(function: Any, dtype: str) -> None:
    """And beside them nothing is written."""
    fused = fuse(function)
    text = source(function, np.ones((3, 5), dtype))
    assert "loops.stream" in text and ("j0_far" in text) == (function is root)
    rng = np.random.default_rng(0)
    room = np.empty(4 * 1100 + 64, dtype)
    for width in (1, 15, 64, 100, 130, 513, 1024, 1100):
        x = rng.standard_normal((4, width)).astype(dtype)
        want = function(x.astype(np.float64))
        for begin in (0, 1, 7, 16):
            room[:] = 7
            out = room[begin:][: x.size].reshape(x.shape)
            fused(x, out=out)
            np.testing.assert_allclose(out, want, rtol=1e-5 if dtype == "float32" else 1e-13)
            assert (room[:begin] == 7).all() and (room[begin + x.size :] == 7).all()


@pytest.mark.usefixtures("vast")
def test_elements_off_their_own_alignment_are_written_one_by_one() -> None:
    raw = np.zeros(4 * 200 + 1, np.uint8)
    out = raw[1:].view(np.float32)
    x = np.linspace(0, 9, 200, dtype=np.float32)
    fuse(root)(x, out=out)
    np.testing.assert_allclose(out, root(x), rtol=1e-6)


@pytest.mark.usefixtures("vast")
def test_what_is_read_again_or_folded_stays_in_the_cache() -> None:
    x = np.ones((40, 128), np.float32)
    assert "loops.stream" not in source(doubled_and_sum, x)
    assert "loops.stream" not in source(lambda x: x > 0, x)  # one byte an element
    assert "loops.stream" not in source(lambda x: np.exp(x) * np.log(x), x)  # it computes
    in_place = fuse(root)
    in_place(x, out=x)
    (code,) = next(iter(in_place._programs.values())).compiled.values()
    assert "loops.stream" not in code.emitted.source
    np.testing.assert_allclose(x, np.sqrt(3), rtol=1e-6)


def test_only_arrays_that_fill_the_last_cache_go_past_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variant, "vast_bytes", lambda: 1 << 16)
    assert "loops.stream" not in source(root, np.ones((1 << 13) - 1, np.float32))
    assert "loops.stream" in source(root, np.ones(1 << 13, np.float32))
    monkeypatch.setattr(variant, "vast_bytes", lambda: None)
    assert "loops.stream" not in source(root, np.ones(1 << 13, np.float32))


def test_the_last_caches_are_summed(monkeypatch: pytest.MonkeyPatch) -> None:
    caches = [Cache(1, "data", 1 << 15, 8, 64, 1), Cache(3, "unified", 1 << 20, 8, 64, 2)]
    monkeypatch.setattr(variant, "detect_caches", lambda: tuple(caches))
    monkeypatch.setattr(variant.level, "isa", lambda: "avx2")
    monkeypatch.setattr(variant.threads, "usable_cpus", lambda: 4)
    worth = variant.vast_bytes.__wrapped__
    assert worth() == 2 << 20
    monkeypatch.setattr(variant.level, "isa", lambda: "v128")
    assert worth() is None
    monkeypatch.setattr(variant.level, "isa", lambda: "avx2")
    monkeypatch.setattr(variant, "detect_caches", tuple)
    assert worth() is None


def distances(a, b):
    return np.sqrt(((a - b) ** 2).sum(axis=-1)), (a * b).max(axis=-1)


@pytest.mark.usefixtures("vast")
def test_rows_in_pairs_are_all_there_and_do_not_depend_on_the_threads() -> None:
    fused = fuse(distances)
    rng = np.random.default_rng(0)
    found = {}
    for count in (2, 3, 7, 500):
        a, b = rng.standard_normal((2, count, 401)).astype(np.float32)
        assert "i0_far" in source(distances, a, b)
        for number in sorted({1, threads.usable_cpus()}):
            with threads.use_threads(number):
                found[number] = fused(a, b)
        for made in found.values():
            for got, one, want in zip(made, found[1], distances(a, b), strict=True):
                assert (got == one).all()
                np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.usefixtures("vast")
def test_rows_are_not_paired_where_one_replaces_what_is_read() -> None:
    def total(x, bias):
        return bias + x.sum(axis=-1)

    x, bias = np.ones((9, 100), np.float32), np.arange(9, dtype=np.float32)
    assert "i0_far" in source(total, x, bias)
    fuse(total)(x, bias, out=bias)
    assert bias.tolist() == [100 + i for i in range(9)]
    assert "i0_far" not in source(lambda x: x.argmax(axis=-1), x)
    assert "i0_far" not in source(lambda x: np.exp(x).sum(axis=-1), x)


@wide_only
@pytest.mark.usefixtures("vast")
def test_whole_vectors_go_past_the_caches() -> None:
    x = np.ones(4096, np.float32)
    fused = fuse(root)
    fused(x)
    (code,) = next(iter(fused._programs.values())).compiled.values()
    text = codecache.assembly(code.serial, x, np.empty_like(x), 4096, 1)
    register = {"avx512": "[yz]mm", "avx2": "ymm"}[level.isa()]
    assert len(re.findall(rf"vmovntps\s+%{register}\d+", text)) >= 4
    assert re.search(r"\s(mfence|lock\s+orl\s+\$0,)", text)  # and are there before others read
