"""Climbing a ladder: verified before timed, sizes that rungs can finish, speed-up at naive's."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import time

import numpy as np
import pytest

from tinytorch import ops
from tinytorch.backends import ladders
from tinytorch.backends.ladders import Ladder, LadderRow, regular_sizes, run_ladder
from tinytorch.errors import InvalidValue, UnknownName
from tinytorch.kernels import registry
from tinytorch.kernels.registry import Kernel
from tinytorch.measure.clock import Comparison
from tinytorch.measure.roofline import Roof

QUICK = 0.01


def kernel(function, name: str = "mine", op: str = "relu", **options) -> Kernel:
    return Kernel(op=op, name=name, function=function, **options)


def right(x, out=None):
    return np.maximum(x, 0, out=out)


def wrong(x, out=None):
    return np.asarray(x) + 1


def relu_row(mine: Kernel, **options) -> LadderRow:
    chosen = {"size": "1K", "seconds": QUICK, **options}
    return run_ladder("relu", kernels=[mine], **chosen).rows[0]


@pytest.fixture(scope="module")
def products() -> Ladder:
    return run_ladder("matmul", size="64", seconds=QUICK)


def test_every_rung_has_a_row_from_the_bottom_up(products: Ladder) -> None:
    assert [r.kernel for r in products.rows] == [k.name for k in registry.ladder("matmul")]
    assert products.op == "matmul"
    assert products.dtype == "float32"
    assert not products.interrupted
    for row in products.rows:
        assert row.check.ok
        assert row.measurement is not None
        assert row.measurement.metadata["size"] == row.size
        assert row.idea == registry.get("matmul", row.kernel).idea
        assert row.allocations is not None


def test_figures_belong_to_the_size_that_ran(products: Ladder) -> None:
    for row in products.rows:
        n = int(row.size)
        assert row.shapes == ((n, n), (n, n))
        assert row.flops == 2 * n**3
        assert row.bytes_moved == 3 * 4 * n**2
        seconds = row.measurement.median
        assert row.gflops_per_s == pytest.approx(2 * n**3 / seconds / 1e9)
        assert row.gb_per_s == pytest.approx(12 * n**2 / seconds / 1e9)


def test_compiled_rungs_run_at_the_size_asked_for(products: Ladder) -> None:
    sizes = {row.kernel: row.size for row in products.rows}
    assert sizes["library"] == sizes["blocked"] == "64"
    assert int(sizes["naive"]) <= 64


def test_speedup_is_measured_at_naives_size(products: Ladder) -> None:
    naive, *others = products.rows
    assert naive.speedup_over_naive is None
    assert naive.speedup_size is None
    for row in others:
        assert row.speedup_size == naive.size
        assert row.speedup_over_naive.low <= row.speedup_over_naive.high
    assert others[-1].speedup_over_naive.median > 1, "BLAS is faster than loops in Python"


def test_a_ladder_without_naive_is_still_compared_with_it() -> None:
    (row,) = run_ladder("matmul", size="32", kernels=["library"], seconds=QUICK).rows
    assert row.kernel == "library"
    assert row.speedup_over_naive is not None


def test_plain_data_is_strict_json(products: Ladder) -> None:
    failed = relu_row(kernel(lambda x, out=None: x[:1]))
    assert failed.check.worst == math.inf
    ladder = dataclasses.replace(products, rows=(*products.rows, failed))
    data = json.loads(json.dumps(ladder.to_dict(), allow_nan=False))
    assert data["schema"] == ladders.SCHEMA
    assert data["rows"][0]["kernel"] == "naive"
    assert data["rows"][0]["verified"]
    assert data["rows"][1]["speedup_over_naive"]["median"] > 0
    assert not data["rows"][-1]["verified"]
    assert data["rows"][-1]["measurement"] is None


def test_a_row_finds_its_place_under_a_roof(products: Ladder) -> None:
    row = products.rows[-1]
    placed = row.placement(Roof(1e15, 1e15, "L1"))
    assert placed.seconds == row.measurement.median
    assert 0 < placed.fraction < 1
    with pytest.raises(InvalidValue, match="mine was not timed"):
        relu_row(kernel(wrong)).placement(Roof(1e15, 1e15, "L1"))


# Sizes --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("op", "largest"), [("matmul", "1024"), ("gelu", "4M"), ("dot", "4M"), ("softmax", "1024x1024")]
)
def test_regular_sizes_grow(op: str, largest: str) -> None:
    sizes = regular_sizes(ops.get(op))
    work = [ops.get(op).flops(size.shapes) for size in sizes]
    assert work == sorted(work)
    assert sizes[-1].name == largest
    assert "tall-skinny" not in [size.name for size in sizes]


def pretend_seconds(call: functools.partial) -> float:
    """A machine on which a call takes a microsecond an element."""
    return call.args[0].size * 1e-6


@pytest.mark.parametrize(
    ("asked", "seconds", "expected"),
    [
        ("4M", 0.2, "16K"),  # 7 x 16.4 ms fit, 7 x 262 ms don't
        ("4M", 0.001, "1K"),  # nothing fits: the smallest
        ("1K", 60.0, "1K"),  # never above what was asked
        ("5000", 60.0, "5000"),
        ("5000", 0.2, "5000"),  # though 16K would fit
        ("300", 60.0, "300"),
        ("5000", 0.02, "1K"),
    ],
)
def test_an_interpreted_rung_runs_at_the_largest_size_that_fits(
    monkeypatch, asked: str, seconds: float, expected: str
) -> None:
    monkeypatch.setattr(ladders, "_seconds", pretend_seconds)
    real = ladders.race
    quick = ladders.Effort(seconds=QUICK)
    monkeypatch.setattr(ladders, "race", lambda calls, **kw: real(calls, **{**kw, "effort": quick}))
    monkeypatch.setattr(ladders._Climb, "_against_naive", lambda self, kernel, row: row)
    row = relu_row(kernel(right, interpreted=True), size=asked, seconds=seconds)
    assert row.size == expected
    assert row.measurement.metadata["size"] == expected


def test_growth_is_measured_with_real_calls() -> None:
    def slow(x, out=None):
        time.sleep(x.size * 1e-6)
        return right(x)

    row = relu_row(kernel(slow, interpreted=True), size="4M", seconds=0.02)
    assert row.size == "1K"


# Judgement ----------------------------------------------------------------------------------------
def test_a_wrong_rung_gets_a_row_and_no_time() -> None:
    called = []

    def counted(x, out=None):
        called.append(x.size)
        return wrong(x)

    row = relu_row(kernel(counted))
    assert not row.check.ok
    assert row.check.fault == "value"
    assert row.measurement is row.speedup_over_naive is row.allocations is None
    assert row.gflops_per_s is row.gb_per_s is None
    assert called == [1024], "called by the check alone"


@pytest.mark.parametrize("interpreted", [True, False])
def test_a_rung_that_raises_is_a_failed_row(interpreted: bool) -> None:
    def broken(x, out=None):
        if x.size > 1024:
            raise ZeroDivisionError("no")
        return right(x)

    row = relu_row(kernel(broken, interpreted=interpreted), size="256K", seconds=1.0)
    assert row.size == ("16K" if interpreted else "256K")
    assert row.check.fault == "raised"
    assert "ZeroDivisionError: no" in row.check.reason


def test_wrong_at_the_large_size_only_is_wrong() -> None:
    def sometimes(x, out=None):
        return right(x) if x.size <= 1024 else wrong(x)

    row = relu_row(kernel(sometimes, interpreted=True), size="16K", seconds=5.0)
    assert (row.size, row.check.ok, row.measurement) == ("16K", False, None)


def test_wrong_at_naives_size_only_is_wrong(monkeypatch) -> None:
    def sometimes(x, out=None):
        return right(x) if x.size > 1024 else wrong(x)

    monkeypatch.setattr(ladders, "_seconds", lambda call: math.inf)
    row = relu_row(kernel(sometimes), size="16K")
    assert (row.size, row.check.ok, row.measurement) == ("1K", False, None)


def test_a_rung_that_refuses_says_why() -> None:
    row = relu_row(kernel(right, dtypes=("float64",)))
    assert row.refused == "takes one dtype of float64; got float32"
    assert row.measurement is None


@pytest.mark.parametrize("reuses_out", [True, False])
def test_out_is_preallocated_for_rungs_that_reuse_it(reuses_out: bool) -> None:
    given = []

    def noted(x, out=None):
        given.append(out)
        return np.maximum(x, 0, out=out)

    row = relu_row(kernel(noted, reuses_out=reuses_out), size="256K")
    assert all((out is not None) == reuses_out for out in given)
    assert row.allocations.allocations == (0 if reuses_out else 1)


def test_allocations_can_be_left_out() -> None:
    assert relu_row(kernel(right), measure_allocations=False).allocations is None


# Ctrl-C -------------------------------------------------------------------------------------------
def test_ctrl_c_keeps_the_rows_so_far() -> None:
    def interrupts(x, out=None):
        raise KeyboardInterrupt

    rungs = [kernel(right, "first"), kernel(interrupts, "second"), kernel(right, "third")]
    found = run_ladder("relu", size="1K", seconds=QUICK, kernels=rungs)
    assert found.interrupted
    assert [row.kernel for row in found.rows] == ["first"]
    assert found.to_dict()["interrupted"]


def test_ctrl_c_within_the_rounds_keeps_what_was_timed(monkeypatch) -> None:
    real = ladders.race

    def cut_short(calls, **options):
        taken = real(calls, **options)
        return {n: dataclasses.replace(m, stopped="interrupted") for n, m in taken.items()}

    monkeypatch.setattr(ladders, "race", cut_short)
    rungs = [kernel(right, "first"), kernel(right, "second")]
    found = run_ladder("relu", size="1K", seconds=QUICK, kernels=rungs)
    assert found.interrupted
    (row,) = found.rows
    assert row.measurement is not None
    assert row.speedup_over_naive is None


@pytest.mark.parametrize("later", [False, True])
def test_ctrl_c_within_the_comparison_keeps_the_time(monkeypatch, later: bool) -> None:
    real = ladders.compare

    def interrupted(*calls, **options):
        if not later:
            raise KeyboardInterrupt
        found = real(*calls, **options)
        sides = (found.baseline, found.candidate)
        return Comparison(*(dataclasses.replace(m, stopped="interrupted") for m in sides))

    monkeypatch.setattr(ladders, "compare", interrupted)
    found = run_ladder("relu", size="1K", seconds=QUICK, kernels=["inplace", "unfused"])
    assert found.interrupted
    (row,) = found.rows
    assert row.kernel == "inplace"
    assert row.measurement is not None
    assert row.speedup_over_naive is None


# What is asked for --------------------------------------------------------------------------------
def test_progress_names_each_rung_before_it_runs() -> None:
    seen = []
    run_ladder(
        "relu",
        size="1K",
        seconds=QUICK,
        kernels=["inplace", "unfused"],
        on_rung=lambda *what: seen.append(what),
    )
    assert seen == [("inplace", 0, 2), ("unfused", 1, 2)]


def test_integers_and_params_have_ladders_too() -> None:
    rows = run_ladder("int8_matmul", size="8", seconds=QUICK, kernels=["vectorised"]).rows
    assert rows[0].measurement.metadata["dtype"] == "int8"
    exact = {"approximate": "none"}
    row = run_ladder("gelu", size="1K", seconds=QUICK, params=exact, kernels=["unfused"]).rows[0]
    assert row.params == exact
    assert row.check.ok


def test_unknown_names_are_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean 'matmul'"):
        run_ladder("matmull")
    with pytest.raises(UnknownName, match="did you mean 'library'"):
        run_ladder("matmul", kernels=["libary"])
    with pytest.raises(UnknownName, match="size of matmul"):
        run_ladder("matmul", size="huge")


@pytest.mark.parametrize(
    ("wrong_option", "message"),
    [
        ({"dtype": "float16"}, "float32 or float64, got 'float16'"),
        ({"seconds": 0}, "seconds"),
        ({"seconds": math.nan}, "seconds"),
        ({"params": {"approximate": "x"}}, "approximate"),
        ({"kernels": [kernel(right)]}, "mine computes relu"),
    ],
)
def test_bad_options_are_refused(wrong_option, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        run_ladder("gelu", **wrong_option)
