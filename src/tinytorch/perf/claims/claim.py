"""A claim: what is told, the range that it amounts to, and how it is measured here.

A claim holds where every reading's interval meets the told range, holds under conditions where
some do, and does not hold where none does. Readings too wide to judge by don't count.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tinytorch.errors import MeasurementError, MissingDependency
from tinytorch.measure.clock import Comparison
from tinytorch.measure.stats import Interval
from tinytorch.measure.units import figures

Verdict = Literal["holds", "holds under conditions", "does not hold", "unresolved", "not measured"]

# An interval whose ends are further apart than this factor proves nothing: a busy machine.
_WIDEST = 2.0


@dataclass(frozen=True)
class Reading:
    """One measured figure: under which condition, and the bounds of its interval."""

    condition: str
    value: float
    low: float
    high: float
    unit: str = "x"

    @classmethod
    def of(cls, condition: str, interval: Interval, unit: str = "x") -> Reading:
        """Make one of an interval."""
        return cls(condition, interval.median, interval.low, interval.high, unit)

    @classmethod
    def exact(cls, condition: str, value: float, unit: str = "x") -> Reading:
        """Make one of a figure that was counted."""
        return cls(condition, value, value, value, unit)

    @property
    def resolved(self) -> bool:
        """Whether the interval is narrow enough to judge by."""
        return self.low == self.high or self.low * _WIDEST >= self.high

    @property
    def text(self) -> str:
        """The figure as a table shows it."""
        unit = self.unit if self.unit in ("x", "") else f" {self.unit}"
        bounds = "" if self.low == self.high else f" ({figures(self.low)} .. {figures(self.high)})"
        return f"{self.condition}: {figures(self.value)}{unit}{bounds}"


def ratio(condition: str, comparison: Comparison) -> Reading:
    """Return how many times faster the candidate is."""
    return Reading.of(condition, comparison.ratio)


@dataclass(frozen=True)
class Finding:
    """What was measured, and one line that says why it came out so."""

    readings: tuple[Reading, ...]
    why: str


@dataclass(frozen=True)
class Claim:
    """`told` in the sources' words; low .. high is the range that would make it true."""

    name: str
    told: str
    low: float
    high: float
    measure: Callable[[float], Finding]


@dataclass(frozen=True)
class Judged:
    """A claim with its finding; `reason` says why nothing was measured."""

    claim: Claim
    verdict: Verdict
    finding: Finding | None
    reason: str = ""

    @property
    def measured_text(self) -> str:
        """All readings in a cell."""
        return "; ".join(r.text for r in self.finding.readings) if self.finding else "-"

    @property
    def why(self) -> str:
        """Why it came out so, or why it was not measured."""
        return self.finding.why if self.finding else self.reason

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "name": self.claim.name,
            "told": self.claim.told,
            "told_low": self.claim.low,
            "told_high": None if math.isinf(self.claim.high) else self.claim.high,
            "verdict": self.verdict,
            "readings": [vars(r) for r in self.finding.readings] if self.finding else [],
            "why": self.why,
        }


def verdict_of(claim: Claim, finding: Finding) -> Verdict:
    """Say how many of the readings meet the told range; those that are too wide don't count."""
    judged = [r for r in finding.readings if r.resolved]
    if not judged:
        return "unresolved"
    met = [r.low <= claim.high and r.high >= claim.low for r in judged]
    if all(met):
        return "holds"
    return "holds under conditions" if any(met) else "does not hold"


def judge(claim: Claim, seconds: float = 0.5) -> Judged:
    """Measure a claim, `seconds` a comparison; what can't be measured here is marked, with why.

    Claims that are measured in the same way share one measurement a process.
    """
    try:
        finding = _found(claim.measure, seconds)
    except (MeasurementError, MissingDependency) as error:
        return Judged(claim, "not measured", None, str(error))
    return Judged(claim, verdict_of(claim, finding), finding)


@functools.lru_cache(128)
def _found(measure: Callable[[float], Finding], seconds: float) -> Finding:
    return measure(seconds)
