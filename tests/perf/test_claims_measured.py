"""`tito claims`: verdicts follow from readings, and the page is written as it was measured."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tinytorch.cli import claims as command
from tinytorch.cli import main
from tinytorch.errors import InvalidValue, MeasurementError, MissingDependency
from tinytorch.perf.claims import CLAIMS, Claim, Finding, Reading, judge

PAGE = Path(__file__).resolve().parents[2] / "docs/claims.md"


def claim(low: float, high: float, *readings: tuple[float, float]) -> Claim:
    taken = tuple(Reading("here", (a + b) / 2, a, b) for a, b in readings)
    return Claim("made", "told | so", low, high, lambda seconds: Finding(taken, "because"))


@pytest.mark.parametrize(
    ("readings", "verdict"),
    [
        ([(2.0, 3.0)], "holds"),
        ([(1.0, 2.0)], "holds"),
        ([(1.0, 1.9)], "does not hold"),
        ([(5.1, 6.0)], "does not hold"),
        ([(2.0, 3.0), (9.0, 9.5)], "holds under conditions"),
        ([(0.1, 9.0)], "unresolved"),
        ([(0.1, 9.0), (9.0, 9.5)], "does not hold"),
    ],
)
def test_a_verdict_says_how_many_readings_meet_what_is_told(
    readings: list[tuple[float, float]], verdict: str
) -> None:
    assert judge(claim(2, 5, *readings)).verdict == verdict


@pytest.mark.parametrize(
    "error", [MeasurementError("one CPU"), MissingDependency("x", "that", "pip install x")]
)
def test_what_cant_be_measured_is_marked_with_the_reason(error: Exception) -> None:
    def fails(seconds: float) -> Finding:
        raise error

    found = judge(Claim("made", "told", 1, 2, fails))
    assert (found.verdict, found.measured_text, found.why) == ("not measured", "-", str(error))


def test_claims_of_one_measurement_share_it() -> None:
    calls = []

    def measure(seconds: float) -> Finding:
        calls.append(seconds)
        return Finding((Reading.exact("here", 3.0),), "")

    first, second = (judge(Claim(n, n, 1, high, measure), 0.25) for n, high in (("a", 2), ("b", 4)))
    assert (first.verdict, second.verdict, calls) == ("does not hold", "holds", [0.25])


def test_every_claim_has_a_name_of_its_own_and_a_range() -> None:
    names = [one.name for one in CLAIMS]
    assert len(set(names)) == len(names) >= 30
    assert all(one.low < one.high for one in CLAIMS)


def test_the_page_has_the_block_that_is_written() -> None:
    page = PAGE.read_text(encoding="utf-8")
    written = command.rewritten(page, [judge(claim(2, 5, (2, 3)))])
    assert "| told / so | here: 2.50x (2.00 .. 3.00) | holds | because |" in written
    assert command.rewritten(written, [judge(claim(2, 5, (2, 3)))]).count(command.END) == 1
    with pytest.raises(InvalidValue, match="one block"):
        command.rewritten("nothing", [])


@pytest.mark.parametrize("name", ["naive-100", "l1-32", "int8-8", "inplace-1.5-2"])
def test_claims_are_measured(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["claims", name, "--seconds", "0.02", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["name"] == name
    if row["verdict"] != "not measured":
        readings: list[dict[str, Any]] = row["readings"]
        assert all(r["low"] <= r["value"] <= r["high"] for r in readings)
        assert all(math.isfinite(r["value"]) for r in readings)
    if name == "int8-8" and row["readings"]:
        assert row["verdict"] == "does not hold"
        assert all(1 < r["value"] < 4 for r in readings)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["int8-1", "sparse-70"])
def test_small_models_keep_their_accuracy(name: str) -> None:
    """INT8 under each calibration, and 70 % of zeros, cost the MLP and the CNN under a point."""
    pytest.importorskip("sklearn")
    (claim,) = (one for one in CLAIMS if one.name == name)
    judged = judge(claim, 0.02)
    assert judged.finding is not None
    readings = [r for r in judged.finding.readings if "at once" not in r.condition]
    assert {r.condition[:3] for r in readings} == {"MLP", "CNN"}
    assert len(readings) == {"int8-1": 6, "sparse-70": 2}[name]
    for reading in readings:
        assert reading.value < 1, reading.text


def test_an_unknown_claim_offers_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["claims", "naive-10"]) == 2
    assert "naive-100" in capsys.readouterr().err
    assert main.run(["claims", "l1-32", "--write", str(PAGE)]) == 2
