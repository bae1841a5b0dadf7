"""The fourteen programs, fused, against themselves unfused; explained; and their emitted source.

`python tests/fuse/test_fuse_programs.py` writes tests/golden/*.py again: read the difference.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinytorch.errors import VerificationError
from tinytorch.fuse import fuse
from tinytorch.native import codecache, level

ROOT = Path(__file__).parent.parent.parent
GOLDEN = ROOT / "tests" / "golden"
SHOWN = ("gelu tanh", "softmax", "layer norm", "cross-entropy", "Adam step", "row distances")


def _programs() -> Any:
    spec = importlib.util.spec_from_file_location("programs", ROOT / "benchmarks" / "programs.py")
    assert spec and spec.loader
    module = sys.modules.setdefault("programs", importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module.PROGRAMS


PROGRAMS = _programs()


def emitted(name: str) -> str:
    program = PROGRAMS[name]
    arguments = program.inputs(4096, np.float32, 0)
    fused = fuse(program.function)
    return fused.explain(*fused._bound(arguments, {})).source


def golden(name: str) -> Path:
    return GOLDEN / f"{re.sub('[^a-z]+', '_', name.lower())}.py"


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_programs_agree_with_numpy(name: str, dtype: str) -> None:
    program = PROGRAMS[name]
    arguments = program.inputs(3 * 1024, dtype, 1)
    got, want = fuse(program.function)(*arguments), program.function(*arguments)
    exact = program.function(*(_wide(a) for a in arguments))
    several = isinstance(want, tuple)
    for g, w, e in zip(
        *((got, want, exact) if several else ((got,), (want,), (exact,))), strict=True
    ):
        assert g.dtype == w.dtype and g.shape == w.shape
        # The fused result is as close to the float64 one as NumPy's own, within a few roundings;
        # where that is NumPy's own, what conditioning makes of a rounding is in the factor.
        scale = np.finfo(w.dtype).eps * (1 + np.abs(e).max())
        ours, theirs = np.abs(g - e).max(), np.abs(w - e).max()
        assert ours <= 3 * theirs + (4 if dtype == "float32" else 64) * scale


def _wide(value: Any) -> Any:
    real = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return value.astype(np.float64) if real else value


def test_adam_in_place() -> None:
    program = PROGRAMS["Adam step"]
    weight, gradient, mean, square, step = program.inputs(5000, np.float32, 2)
    want = program.function(weight, gradient, mean, square, step)
    fuse(program.function)(weight, gradient, mean, square, step, out=(weight, mean, square))
    for got, expected in zip((weight, mean, square), want, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", SHOWN)
def test_emitted_source(name: str) -> None:
    assert emitted(name) == golden(name).read_text(encoding="utf-8"), (
        f"run python {Path(__file__).name} and read what changed"
    )


def test_loops_use_the_whole_vector(tmp_path: Path) -> None:
    program = PROGRAMS["gelu tanh"]
    arguments = program.inputs(4096, np.float32, 0)
    fused = fuse(program.function)
    fused(*arguments)
    code = next(iter(next(iter(fused._programs.values())).compiled.values()))
    out = np.empty_like(arguments[0])
    uses = level.register_uses(codecache.assembly(code.serial, *arguments, out, 4096, 1))
    widest = {"avx512": ("zmm", "ymm"), "avx2": ("ymm",), "v128": ("xmm", "neon")}[level.isa()]
    assert sum(uses[register] for register in widest) > 20


def test_explain_shows_every_step() -> None:
    program = PROGRAMS["gelu tanh"]
    (x,) = program.inputs(4096, np.float32, 0)
    fused = fuse(program.function)
    found = fused.explain(x, measure=True)
    text = str(found)
    for word in (
        "traced",
        "fold_constants",
        "simplify",
        "share_common",
        "know_ranges",
        "join_with_one",
        "drop_unused",
        "power",
        "== emitted",
        "vmath.one_plus_tanh",
        "FLOP",
        "roofline" if found.roof else "no prediction",
        "measured:",
    ):
        assert word in text
    assert found.bytes_moved == 2 * x.nbytes
    # 0.5 * x, x ** 3, c * that, x + that, c * that, tanh, 1 + that: 2 passes each (one has 3);
    # the last product has 3.
    assert found.unfused_bytes == pytest.approx(18 * x.nbytes, rel=0.01)
    assert found.predicted_seconds is None or found.predicted_seconds > 0


def by_their_size(x):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_inverse_of_a_root_keeps_limits(dtype: str) -> None:
    ends = [0.0, np.inf, np.nan, np.finfo(dtype).tiny, np.finfo(dtype).max, 3e-20, 1.0]
    x = np.ones((len(ends), 40), dtype) * np.array(ends, dtype)[:, None]
    x[:, 7] *= -0.5
    fused = fuse(by_their_size)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(fused(x), by_their_size(x), rtol=4 * np.finfo(dtype).eps)
    assert "reciprocal" in str(fused.explain(x).history[-1][1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_joining_with_one_keeps_limits(dtype: str) -> None:
    x = np.array([-np.inf, -1000, -88.5, -20, -0.0, 20, 88.5, 1000, np.inf, np.nan], dtype)
    for name in ("gelu tanh", "silu"):
        function = PROGRAMS[name].function
        with np.errstate(all="ignore"):
            want = function(x)
            np.testing.assert_allclose(fuse(function)(x), want, rtol=1e-5, atol=1e-5)


def test_what_is_used_elsewhere_is_not_joined_with_one() -> None:
    def both(x: Any) -> Any:
        e = np.exp(x)
        return e / (1 + e)

    x = np.linspace(-3, 3, 100)
    fused = fuse(both)
    source = fused.explain(x).source
    assert "vmath.exp(" in source and "one_plus_exp" not in source
    np.testing.assert_allclose(fused(x), both(x), rtol=1e-14)


def test_explain_times_nothing_that_is_wrong() -> None:
    calls = []

    def unsteady(x: Any) -> Any:
        calls.append(1)
        return x + len(calls)

    with pytest.raises(VerificationError, match="unsteady"):
        fuse(unsteady).explain(np.zeros(5), measure=True)


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for shown in SHOWN:
        golden(shown).write_text(emitted(shown), encoding="utf-8")
