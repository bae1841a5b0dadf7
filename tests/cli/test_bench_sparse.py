"""`tito bench sparse`: verified times over the share of zeros, and where zeros begin to pay."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tinytorch.cli import main
from tinytorch.cli.sparse import crossover_text
from tinytorch.errors import InvalidValue, VerificationError
from tinytorch.kernels import sparse
from tinytorch.measure.clock import Effort, race
from tinytorch.measure.sample import Measurement
from tinytorch.perf.compression import sweep as module
from tinytorch.perf.compression.sweep import DENSE, Layer, Point, crossover, pruned, sweep

TINY = Layer(16, 40, 24)


def measured(seconds: float, spread: float = 0.0) -> Measurement:
    """A measurement whose samples are all of about one duration."""
    (made,) = race({"x": lambda: None}, effort=Effort(seconds=0.01, min_rounds=3)).values()
    samples = tuple(seconds * (1 + spread * (i % 3 - 1)) for i in range(15))
    object.__setattr__(made, "seconds", samples)
    return made


def points(speedups: list[float], spread: float = 0.0) -> list[Point]:
    shares = np.linspace(0.5, 0.9, len(speedups))
    return [
        Point(float(share), {DENSE: measured(1.0), "CSR": measured(1 / s, spread)})
        for share, s in zip(shares, speedups, strict=True)
    ]


def test_a_crossover_is_interpolated_between_the_shares_around_it() -> None:
    found = crossover(points([0.25, 0.5, 2.0]), "CSR")
    # Shares 0.5, 0.7, 0.9; the logarithm of the speed-up is 0 halfway from 0.7 to 0.9.
    assert found.share == pytest.approx(0.8)
    assert (found.low, found.high) == (pytest.approx(0.8), pytest.approx(0.8))
    wide = crossover(points([0.25, 0.5, 2.0], spread=0.2), "CSR")
    assert wide.low < wide.share < wide.high  # type: ignore[operator]


def test_a_crossover_is_the_last_one_and_may_not_be_there() -> None:
    assert crossover(points([2.0, 0.5, 2.0]), "CSR").share == pytest.approx(0.8)
    never = crossover(points([0.2, 0.5, 0.9]), "CSR")
    assert (never.share, crossover_text(never)) == (None, "never, as far as measured")
    always = crossover(points([1.5, 2.0, 3.0]), "CSR")
    assert always.is_first
    assert crossover_text(always) == "50.0% or less"


@pytest.mark.parametrize("block", [(1, 1), (1, 16), (4, 16)])
def test_a_pruned_weight_has_exactly_that_share_of_zero_blocks(block: tuple[int, int]) -> None:
    weight = pruned(Layer(1, 64, 48), 0.75, block)
    assert sparse.blocks(weight, block).kept == 0.25


def test_a_sweep_times_every_format_at_every_share() -> None:
    found = sweep(TINY, (0.5, 0.9), effort=Effort(seconds=0.02, min_rounds=6))
    assert [point.zeros for point in found] == [0.5, 0.9]
    assert all(set(point.taken) == {DENSE, "CSR", "1x16", "4x16"} for point in found)
    for shares in ((), (0.9, 0.5), (0.5, 1.5)):
        with pytest.raises(InvalidValue, match="shares of zeros must"):
            sweep(TINY, shares)


def test_a_wrong_product_is_never_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = sparse.sparse_linear
    monkeypatch.setattr(
        module.sparse, "sparse_linear", lambda *args: right(*args) * np.float32(1.001)
    )
    with pytest.raises(VerificationError, match="CSR is wrong"):
        sweep(TINY, (0.5,))


def test_the_command_prints_draws_and_gives_data(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "__defaults__", ((0.5, 0.9),))
    chart = tmp_path / "sparse.png"
    arguments = ["bench", "sparse", "--sizes", "16x40x24", "--seconds", "0.02"]
    assert main.run([*arguments, "--png", str(chart)]) == 0
    out = capsys.readouterr().out
    assert "faster than dense from" in out
    assert out.count("signs are as fast") == 3
    assert chart.read_bytes().startswith(b"\x89PNG")
    assert main.run([*arguments, "--json"]) == 0
    (data,) = json.loads(capsys.readouterr().out)
    assert data["layer"] == {"tokens": 16, "inputs": 40, "outputs": 24}
    assert [point["zeros"] for point in data["points"]] == [0.5, 0.9]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["sparse", "--sizes", "16x40"], "tokens x inputs x outputs"),
        (["sparse", "--kernels", "packed"], "takes no --kernels"),
        (["sparse", "--sizes", "8x8x8,9x9x9", "--png", "x.png"], "one size a chart"),
        (["matmul", "--scipy"], "takes no --scipy"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["bench", *arguments]) == 2
    assert told in capsys.readouterr().err
