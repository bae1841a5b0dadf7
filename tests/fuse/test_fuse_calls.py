"""Calls of fused functions: caching, out=, in-place use, layouts, threads, refusals."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinytorch.errors import FusionError, InvalidValue, ShapeError
from tinytorch.fuse import erf, fuse
from tinytorch.native import threads

RNG = np.random.default_rng(0)


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def centred(x: Any) -> Any:
    mean = x.mean(axis=-1, keepdims=True)
    return x - mean, mean


def affine(x: Any, scale: Any, shift: Any = 1.0) -> Any:
    return x * scale + shift


def close(a: Any, b: Any) -> None:
    assert a.dtype == b.dtype and a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_one_program_serves_all_sizes() -> None:
    f = fuse(softmax)
    for shape in [(3, 5), (7, 33), (64, 100)]:
        x = RNG.standard_normal(shape).astype(np.float32)
        close(f(x), softmax(x))
    assert len(f._programs) == 1


def test_python_numbers_are_weak_and_not_compiled_in() -> None:
    f = fuse(affine)
    x = np.ones(10, np.float32)
    for scale in (2.0, 3.0, 7):
        assert f(x, scale).dtype == np.float32
        close(f(x, scale, shift=scale), affine(x, scale, scale))
    assert len(f._programs) == 3  # (float, float), (int, float), (int, int)
    assert f(x, np.float64(2)).dtype == np.float64
    assert f(x.astype(np.int32), 2.5).dtype == np.float64


def test_a_number_that_decides_is_part_of_the_program() -> None:
    def f(x: Any, axis: Any, flag: Any, mode: Any) -> Any:
        y = x.sum(axis=axis) if flag else x.max(axis=axis)
        return y if mode == "plain" else -y

    fused, x = fuse(f), RNG.standard_normal((3, 4))
    for axis, flag, mode in [(-1, True, "plain"), (1, False, "plain"), (None, True, "odd")]:
        close(fused(x, axis, flag, mode), f(x, axis, flag, mode))


def test_sizes_are_numbers() -> None:
    def f(x: Any) -> Any:
        return x.sum(axis=-1) / x.shape[-1] ** 0.5 + (1 if x.shape[0] > 3 else 2)

    fused = fuse(f)
    for shape in [(2, 5), (2, 9), (5, 5)]:
        x = RNG.standard_normal(shape)
        close(fused(x), f(x))


def test_sizes_that_do_not_fit_are_refused_at_every_call() -> None:
    f = fuse(affine)
    f(np.ones((4, 3)), np.ones(3))
    with pytest.raises(ShapeError, match="broadcast"):
        f(np.ones((4, 3)), np.ones(4))


def test_sizes_equal_by_chance_stay_apart() -> None:
    def f(x: Any) -> Any:
        return x + x.sum(axis=-1)  # along the columns, where x is square

    x = RNG.standard_normal((4, 4))
    close(fuse(f)(x), f(x))


@pytest.mark.parametrize("layout", ["transposed", "negative", "sliced", "step", "read-only"])
def test_layouts(layout: str) -> None:
    base = RNG.standard_normal((12, 10, 14))
    x = {
        "transposed": base.T,
        "negative": base[::-1, :, ::-1],
        "sliced": base[2:5, 1:4, 3:9],
        "step": base[::2, ::3, ::2],
        "read-only": base.view(),
    }[layout]
    x.flags.writeable = layout != "read-only"
    for f in (softmax, lambda x: np.exp(x) + 1, lambda x: x.sum(axis=(-2, -1)), np.var):
        close(fuse(lambda x, f=f: f(x))(x), f(x))


def test_out_is_filled_and_returned() -> None:
    f, x = fuse(softmax), RNG.standard_normal((6, 50))
    for out in (np.empty_like(x), np.empty((12, 100))[::2, ::-2], np.empty(x.shape, order="F")):
        assert f(x, out=out) is out
        close(out, softmax(x))


@pytest.mark.parametrize(
    "out",
    [np.empty((6, 4)), np.empty((5, 5)), np.empty((6, 5), np.float32), [1.0], None],
)
def test_out_that_does_not_fit(out: Any) -> None:
    f, x = fuse(softmax), np.ones((6, 5))
    if out is None:
        out = np.empty((6, 5))
        out.flags.writeable = False
    with pytest.raises((ShapeError, InvalidValue), match="out"):
        f(x, out=out)


def test_in_place() -> None:
    f, x = fuse(softmax), RNG.standard_normal((6, 50)).astype(np.float32)
    want = softmax(x)
    assert f(x, out=x) is x
    close(x, want)


def test_in_place_where_the_input_is_needed_after_the_write() -> None:
    def f(x: Any) -> Any:
        e = np.exp(x)
        return e / e.sum(axis=-1, keepdims=True) + x

    for shape in [(4, 40), (40,)]:
        x = RNG.standard_normal(shape)
        want = f(x)
        fuse(f)(x, out=x)
        close(x, want)


def test_out_that_overlaps_an_input_in_part() -> None:
    base = RNG.standard_normal(100)
    want = affine(base[:-1], 2.0)
    fuse(affine)(base[:-1], 2.0, out=base[1:])
    close(base[1:], want)


def test_several_results_in_place() -> None:
    x, mean = RNG.standard_normal((5, 30)), np.empty((5, 1))
    want = centred(x)
    got = fuse(centred)(x, out=(x, mean))
    assert got[0] is x and got[1] is mean
    close(x, want[0])
    close(mean, want[1])
    with pytest.raises(InvalidValue, match="overlap"):
        fuse(lambda x: (x + 1, x + 2))(x, out=(x, x))


def test_numbers_and_arrays_without_axes() -> None:
    f, x = fuse(affine), np.arange(5.0)
    assert f(x, np.array(2.0)).shape == (5,)
    total = fuse(lambda x: x.sum())(x)
    assert type(total) is np.float64 and total == 10
    assert f(3.0, 2.0) == 7.0
    out = np.empty(())
    assert fuse(lambda x: x.sum())(x, out=out) is out and out == 10


def test_arrays_without_elements() -> None:
    x = np.ones((0, 3), np.float32)
    close(fuse(softmax)(x), softmax(x))
    assert fuse(lambda x: x.sum())(x) == 0
    with pytest.raises(ValueError, match="zero-size"):
        fuse(lambda x: x.max())(x)


def test_nan_and_infinity_pass_as_in_numpy() -> None:
    odd = np.array([[1.0, np.nan, 3.0], [np.inf, -np.inf, 0.0], [-0.0, 5.0, -1.0]], np.float32)
    programs = [
        lambda x: x.max(axis=-1),
        lambda x: x.min(axis=-1),
        lambda x: x.argmax(axis=-1),
        lambda x: x.argmin(),
        lambda x: np.maximum(x, 0),
        lambda x: np.clip(x, -1, 2),
        lambda x: 1 / x,
        lambda x: np.sqrt(x),
        lambda x: np.where(np.isnan(x), 0, x),
        lambda x: np.sign(x) * np.floor(x),
    ]
    for f in programs:
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(fuse(f)(odd), f(odd))


def test_integers_wrap_and_divide_as_in_numpy() -> None:
    a = np.array([127, -128, 5, -7, 0, -128], np.int8)
    b = np.array([1, -1, 0, 2, -3, 127], np.int8)
    for f in (
        lambda a, b: a + b,
        lambda a, b: a * b,
        lambda a, b: -a,
        lambda a, b: abs(a),
        lambda a, b: a // b,
        lambda a, b: a % b,
        lambda a, b: a / b,
        lambda a, b: a**3,
        lambda a, b: (a & b) | ~a,
    ):
        with np.errstate(all="ignore"):
            want = f(a, b)
        got = fuse(f)(a, b)
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)
    with pytest.raises(OverflowError):
        fuse(lambda a: a + 300)(a)


def test_long_rows_do_not_depend_on_the_threads() -> None:
    x = RNG.standard_normal((3, 200_000)).astype(np.float32)

    def f(x: Any) -> Any:
        return softmax(x), x.sum(), x.var(axis=-1), np.exp(x)

    results = []
    for count in {1, threads.usable_cpus()}:
        with threads.use_threads(count):
            results.append(fuse(f)(x))
    for a, b in zip(results[0], results[-1], strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(results[0][1], x.sum(dtype=np.float64), rtol=1e-4)
    np.testing.assert_allclose(results[0][2], x.var(axis=-1, dtype=np.float64), rtol=1e-5)


def test_sums_stay_within_their_rounding() -> None:
    x = RNG.random(1 << 20, np.float32)
    error = abs(float(fuse(lambda x: x.sum())(x)) - x.sum(dtype=np.float64))
    assert error <= 2.0**-24 * np.sqrt(x.size) * np.abs(x).sum(dtype=np.float64) / 100


def test_changing_an_intermediate_in_place() -> None:
    def f(x: Any) -> Any:
        y = x * 2
        z = y
        y += 1
        return y + z

    x = RNG.standard_normal(9)
    close(fuse(f)(x), f(x))


def _branch(x: Any) -> Any:
    if x.sum() > 0:  # the line that is named
        return x
    return -x


def _changes(x: Any) -> Any:
    x += 1
    return x


_OUTSIDE = np.ones(3)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (_branch, r"x.sum\(\) > 0:  # the line that is named"),
        (_changes, "in place"),
        (lambda x: np.cumsum(x), "cumsum"),
        (lambda x: x[1:], "slice before"),
        (lambda x: x.reshape(-1), "reshape"),
        (lambda x: x.sum(axis=0), "last"),
        (lambda x: x + _OUTSIDE, "argument"),
        (lambda x: x.astype(np.float16), "float16"),
        (lambda x: np.asarray(x) + 1, "plain NumPy"),
        (lambda x: 3.0, "returns a float"),
        (lambda x: x @ x, "matmul"),
        (lambda x: [v for v in x], "Python asks"),  # noqa: C416
    ],
)
def test_refusals_name_the_line_and_the_reason(function: Any, reason: str) -> None:
    with pytest.raises(FusionError, match=reason) as caught:
        fuse(function)(np.ones((3, 3)))
    assert Path(__file__).name in str(caught.value)


def test_fallback_runs_unfused_and_says_so_once() -> None:
    f = fuse(fallback=True)(_branch)
    with pytest.warns(RuntimeWarning, match="runs unfused"):
        np.testing.assert_array_equal(f(-np.ones(3)), np.ones(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(f(-np.ones(4)), np.ones(4))


def test_arguments_that_are_no_plain_arrays() -> None:
    masked = np.ma.masked_array([1.0, 2.0], [True, False])
    for odd in (masked, [1.0, 2.0]):
        with pytest.raises(FusionError, match=type(odd).__name__):
            fuse(affine)(odd, 2.0)
    with pytest.warns(RuntimeWarning, match="runs unfused"):
        assert fuse(affine, fallback=True)(masked, 2.0).mask[0]


def test_functions_without_names_for_their_arguments() -> None:
    with pytest.raises(FusionError, match="name them"):
        fuse(lambda *args: args[0])


def test_erf() -> None:
    import math

    x = np.linspace(-4, 4, 101)
    want = np.array([math.erf(v) for v in x])
    np.testing.assert_allclose(erf(x), want, rtol=1e-15, atol=1e-16)
    np.testing.assert_allclose(fuse(lambda x: erf(x) * 2)(x), 2 * want, rtol=1e-15, atol=1e-16)
    assert erf(x.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sine_cosine_and_arc_sine(dtype: Any) -> None:
    spread = RNG.uniform(-1, 1, 20_000) * 10.0 ** RNG.uniform(-9, 5, 20_000)
    odd = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e6, -1.5, 1.0, -1.0, 0.5]
    for x in (np.array([*spread, *odd], dtype), np.array([*spread, 1e30, -3e7], dtype)):
        for f in (np.sin, np.cos, np.arcsin):
            with np.errstate(all="ignore"):
                exact = f(x.astype(np.longdouble)).astype(np.float64)
                ulp = np.spacing(np.abs(exact.astype(dtype)))
            got = fuse(lambda x, f=f: f(x))(x, f)
            finite = np.isfinite(exact)
            np.testing.assert_array_equal(got[~finite], exact[~finite])
            assert np.max(np.abs(got - exact)[finite] / ulp[finite]) <= 4
            assert np.array_equal(np.signbit(got[x == 0]), np.signbit(exact[x == 0]))


_CHILD = """
import numpy as np, sys
from tinytorch.fuse import fuse
from tinytorch.native import codecache
f = fuse(lambda x: np.exp(x) * 3 + x.sum())
f(np.ones(5))
code = next(iter(next(iter(f._programs.values())).compiled.values()))
print(sum(code.serial.stats.cache_hits.values()), sum(code.serial.stats.cache_misses.values()))
"""


def test_a_second_process_loads_what_the_first_compiled(tmp_path: Path) -> None:
    environment = {**os.environ, "TINYTORCH_CACHE_DIR": str(tmp_path)}
    seen = [
        subprocess.run(
            [sys.executable, "-c", _CHILD],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for _ in range(2)
    ]
    assert seen == [["0", "1"], ["1", "0"]]


def test_the_place_of_a_computed_maximum_leaves_other_results_alone() -> None:
    x = np.random.default_rng(0).standard_normal((6, 9))

    def program(x: Any) -> Any:
        size = np.abs(x)
        return np.reciprocal(size), size * size, size.argmax(axis=-1)

    for got, want in zip(fuse(program)(x), program(x), strict=True):
        np.testing.assert_array_equal(got, want)
