from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinytorch.errors import InvalidValue
from tinytorch.measure.stats import (
    CONFIDENCE,
    Interval,
    criticise,
    median_interval,
    ratio_interval,
    verdict,
)

# n, the rank k from each end, and 1 - 2 P(Binomial(n, 1/2) < k), summed by hand.
BY_HAND = [
    (1, 1, 1 - 2 * 1 / 2),
    (5, 1, 1 - 2 * 1 / 32),
    (6, 1, 1 - 2 * 1 / 64),
    (8, 1, 1 - 2 * 1 / 256),  # k = 2 would hold 1 - 2 * 9/256 = 0.93
    (9, 2, 1 - 2 * (1 + 9) / 512),
    (10, 2, 1 - 2 * (1 + 10) / 1024),
    (12, 3, 1 - 2 * (1 + 12 + 66) / 4096),
    (20, 6, 1 - 2 * (1 + 20 + 190 + 1140 + 4845 + 15504) / 2**20),
]


@pytest.mark.parametrize(("n", "rank", "confidence"), BY_HAND)
def test_interval_by_hand(n: int, rank: int, confidence: float) -> None:
    values = [float(v) for v in range(1, n + 1)]
    random.Random(n).shuffle(values)
    interval = median_interval(values)
    assert (interval.low, interval.high) == (rank, n + 1 - rank)
    assert interval.median == (n + 1) / 2
    assert interval.confidence == pytest.approx(confidence, abs=1e-12)


def test_the_published_ranks_for_a_hundred_values() -> None:
    interval = median_interval([float(v) for v in range(1, 101)])
    assert (interval.low, interval.high) == (40, 61)
    assert interval.confidence == pytest.approx(0.9648, abs=5e-5)


def test_another_confidence_takes_other_ranks() -> None:
    values = [float(v) for v in range(1, 10)]
    half = median_interval(values, confidence=0.5)
    assert (half.low, half.high) == (3, 7)  # k = 4 would hold 1 - 2 * 130/512 = 0.492
    assert half.confidence == pytest.approx(1 - 2 * 46 / 512)


def test_fewer_than_six_values_say_that_they_fall_short() -> None:
    assert median_interval([1.0] * 5).confidence < CONFIDENCE
    assert median_interval([1.0] * 6).confidence >= CONFIDENCE


def test_no_values_are_refused() -> None:
    with pytest.raises(InvalidValue, match="at least one value"):
        median_interval([])


@given(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=300))
def test_interval_encloses_the_median_and_keeps_its_confidence(values: list[float]) -> None:
    interval = median_interval(values)
    assert min(values) <= interval.low <= interval.median <= interval.high <= max(values)
    assert interval.confidence >= CONFIDENCE or len(values) < 6


@pytest.mark.parametrize("n", [7, 12, 25])
def test_interval_covers_the_true_median_as_often_as_it_says(n: int) -> None:
    draw = random.Random(2024 + n)
    tries = 4000
    covered = 0
    for _ in range(tries):
        # Skewed, as run times are; the median of a lognormal is exp(0) = 1.
        interval = median_interval([draw.lognormvariate(0, 1) for _ in range(n)])
        covered += interval.low <= 1 <= interval.high
    spread = 3 * math.sqrt(interval.confidence * (1 - interval.confidence) / tries)
    assert covered / tries == pytest.approx(interval.confidence, abs=spread)


def test_relative_width() -> None:
    assert Interval(9, 10, 12, 0.95).relative_width == pytest.approx(0.3)
    assert Interval(0, 0, 1, 0.95).relative_width == math.inf
    assert Interval(9, 10, 12, 0.95).to_dict() == {
        "low": 9,
        "median": 10,
        "high": 12,
        "confidence": 0.95,
    }


def test_ratio_says_how_many_times_faster_the_candidate_is() -> None:
    ratio = ratio_interval([4.0, 6.0, 8.0], [2.0, 2.0, 2.0])
    assert (ratio.low, ratio.median, ratio.high) == (2, 3, 4)


def test_ratio_is_of_pairs_and_not_of_medians() -> None:
    # Load that meets both of a pair leaves their ratio alone.
    baseline = [1.0, 10.0, 100.0, 1.0, 10.0, 100.0]
    ratio = ratio_interval(baseline, [b / 2 for b in baseline])
    assert ratio.low == ratio.high == 2


def test_unpaired_samples_are_refused() -> None:
    with pytest.raises(InvalidValue, match="2 and 1"):
        ratio_interval([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("low", "high", "confidence", "said"),
    [
        (1.05, 1.20, 0.97, "faster"),
        (1.001, 1.20, 0.97, "faster"),
        (0.80, 0.95, 0.97, "slower"),
        (0.80, 0.999, 0.97, "slower"),
        (0.98, 1.02, 0.97, "same"),
        (1.005, 1.02, 0.97, "same"),  # proven, and too little to matter
        (0.97, 1.03, 0.97, "same"),
        (0.95, 1.02, 0.97, "unresolved"),
        (0.98, 1.10, 0.97, "unresolved"),
        (0.50, 2.00, 0.97, "unresolved"),
        (1.05, 1.20, 0.90, "unresolved"),  # too few samples for the confidence asked
        (0.99, 1.01, 0.75, "unresolved"),
    ],
)
def test_verdict(low: float, high: float, confidence: float, said: str) -> None:
    assert verdict(Interval(low, (low + high) / 2, high, confidence)) == said


def test_verdict_takes_another_margin() -> None:
    ratio = Interval(0.92, 1.0, 1.08, 0.97)
    assert (verdict(ratio), verdict(ratio, margin=0.1)) == ("unresolved", "same")


STEADY = [1.0 + 0.001 * (i % 5) for i in range(20)]
SHAKY = {
    "few samples": (STEADY[:5], 1e-3),
    "wide interval": ([1.0, 1.3] * 10, 1e-3),
    "outliers": ([*STEADY[:19], 3.5], 1e-3),
    "drift": ([1.0 + 0.001 * i for i in range(10)] + [1.02 + 0.001 * i for i in range(10)], 1e-3),
    "short samples": (STEADY, 1e-6),
}


@pytest.mark.parametrize("rule", SHAKY)
def test_each_rule_fires_alone_and_says_what_to_do(rule: str) -> None:
    criticisms = criticise(*SHAKY[rule])
    assert [c.rule for c in criticisms] == [rule]
    assert len(criticisms[0].advice) > 10


def test_steady_samples_are_not_criticised() -> None:
    assert criticise(STEADY, 1e-3) == ()


def test_drift_is_not_seen_in_noise() -> None:
    draw = random.Random(7)
    noisy = [1.0 + 0.01 * draw.random() for _ in range(40)]
    assert "drift" not in [c.rule for c in criticise(noisy, 1e-3)]
