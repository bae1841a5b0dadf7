"""Medians with exact intervals, paired comparison and verdicts: pure functions of numbers.

Run times are skewed and have no known distribution, so everything here rests on order statistics
alone: an interval for a median needs no model of the noise, only that samples are exchangeable.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tinytorch.errors import InvalidValue

Verdict = Literal["faster", "slower", "same", "unresolved"]

CONFIDENCE = 0.95
# Ratios within this of 1 are the same for every practical purpose.
SAME_MARGIN = 0.03


@dataclass(frozen=True)
class Interval:
    """A median and the bounds that hold the true median with at least `confidence`."""

    low: float
    median: float
    high: float
    confidence: float

    @property
    def relative_width(self) -> float:
        """Return (high - low) / median, or inf where the median is 0."""
        return (self.high - self.low) / self.median if self.median else math.inf

    def to_dict(self) -> dict[str, float]:
        """Return the four numbers by name."""
        return dict(vars(self))


@functools.cache
def _rank(n: int, confidence: float) -> tuple[int, float]:
    """Return the largest k whose interval keeps `confidence`, and the confidence it holds.

    The interval from the k-th smallest to the k-th largest of n values misses the true median
    with probability 2 P(X < k), X ~ Binomial(n, 1/2).
    """
    below = 1  # 2^n P(X < 1), an integer, so that nothing is rounded before the division
    k = 1
    while k < n // 2:
        wider = below + math.comb(n, k)
        if 1 - 2 * wider / 2**n < confidence:
            break
        below, k = wider, k + 1
    return k, 1 - 2 * below / 2**n


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Return the median and its distribution-free interval (the inverted sign test).

    With fewer than six values even the extremes fall short of 95 %, and the interval says which
    confidence it has. Raises InvalidValue without values.
    """
    if not values:
        raise InvalidValue("an interval needs at least one value, got none")
    ordered = sorted(values)
    k, held = _rank(len(ordered), confidence)
    return Interval(ordered[k - 1], statistics.median(ordered), ordered[-k], held)


def ratio_interval(baseline: Sequence[float], candidate: Sequence[float]) -> Interval:
    """Return the median of baseline / candidate over pairs: how many times faster candidate is.

    `baseline[i]` and `candidate[i]` must have been taken one right after the other.
    """
    if len(baseline) != len(candidate):
        raise InvalidValue(
            f"paired samples must be as many on both sides, got {len(baseline)} and "
            f"{len(candidate)}"
        )
    return median_interval([b / c for b, c in zip(baseline, candidate, strict=True)])


def verdict(ratio: Interval, margin: float = SAME_MARGIN) -> Verdict:
    """Say what a ratio (baseline / candidate) proves about the candidate.

    `same` when the whole interval is within `margin` of 1, `faster` or `slower` when it leaves 1
    out, `unresolved` when the samples can't tell or are too few for the confidence asked.
    """
    if ratio.confidence < CONFIDENCE:
        return "unresolved"
    if 1 - margin <= ratio.low and ratio.high <= 1 + margin:
        return "same"
    if ratio.low > 1:
        return "faster"
    if ratio.high < 1:
        return "slower"
    return "unresolved"


@dataclass(frozen=True)
class Criticism:
    """A rule that a series of samples breaks, and what to do about it."""

    rule: str
    advice: str


def criticise(seconds: Sequence[float], sample_seconds: float) -> tuple[Criticism, ...]:
    """Return what makes a series of samples shaky; `sample_seconds` is one sample's whole length.

    Outliers are reported and never dropped.
    """
    found = []
    interval = median_interval(seconds)
    if interval.confidence < CONFIDENCE:
        found.append(Criticism("few samples", f"{len(seconds)} taken: give it a larger budget"))
    if interval.relative_width > 0.1:
        found.append(
            Criticism(
                "wide interval",
                f"+-{interval.relative_width / 2:.0%}: close other programs or raise the budget",
            )
        )
    worst = max(seconds)
    if worst > 3 * interval.median:
        found.append(
            Criticism(
                "outliers", f"slowest {worst / interval.median:.1f}x the median: busy machine"
            )
        )
    half = len(seconds) // 2
    if half >= 6:
        first, last = median_interval(seconds[:half]), median_interval(seconds[-half:])
        if first.low > last.high or last.low > first.high:
            found.append(
                Criticism(
                    "drift",
                    f"last half {last.median / first.median:.2f}x the first: clock speed or load "
                    "changed; measure again",
                )
            )
    if sample_seconds < 20e-6:
        found.append(
            Criticism("short samples", f"{sample_seconds:.1e} s each: near the clock's own cost")
        )
    return tuple(found)


def _student_cdf(t: float, df: int) -> float:
    """Return P(-t < T < t) for Student's t (Abramowitz and Stegun 26.7.3 and 26.7.4)."""
    angle = math.atan2(t, math.sqrt(df))
    cosine, sine = math.cos(angle), math.sin(angle)
    odd = df % 2
    term = cosine if odd else 1.0
    total = term if df > 1 else 0.0
    for k in range(3 if odd else 2, df - 1, 2):
        term *= (k - 1) / k * cosine * cosine
        total += term
    if odd:
        return 2 / math.pi * (angle + sine * total)
    return sine * total


@functools.cache
def _student_quantile(df: int, confidence: float) -> float:
    """Return the t with P(-t < T < t) = confidence, by bisection."""
    low, high = 0.0, 1.0
    while _student_cdf(high, df) < confidence:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_cdf(middle, df) < confidence else (low, middle)
    return (low + high) / 2


def mean_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the bounds of the mean: mean -+ t s / sqrt(n), which takes values to be normal.

    One value has no spread to judge by, and gives itself twice. Raises InvalidValue without values.
    """
    if not values:
        raise InvalidValue("an interval needs at least one value, got none")
    mean = statistics.fmean(values)
    if len(values) == 1:
        return mean, mean
    error = statistics.stdev(values) / math.sqrt(len(values))
    reach = _student_quantile(len(values) - 1, confidence) * error
    return mean - reach, mean + reach
