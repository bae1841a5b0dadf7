"""BenchmarkResult: the values of one metric, their summary, and the machine they came from."""

from __future__ import annotations

import contextlib
import gc
import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from tinytorch.errors import InvalidValue, MeasurementError
from tinytorch.measure import machine
from tinytorch.measure.stats import Interval, mean_interval, median_interval


@dataclass(frozen=True)
class BenchmarkResult:
    """Values of one metric, in the order in which they were taken.

    `metadata["machine"]` is the fingerprint of where that was, this machine unless it says so.
    Raises InvalidValue without values, or for values that are no finite numbers.
    """

    metric_name: str
    values: Sequence[float]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            values = [float(v) for v in self.values]
        except (TypeError, ValueError) as error:
            raise InvalidValue(f"{self.metric_name} must be a list of numbers: {error}") from error
        if not values:
            raise InvalidValue(f"{self.metric_name} has no values: at least one is needed")
        if not all(map(math.isfinite, values)):
            raise InvalidValue(f"{self.metric_name} must hold finite numbers, got {values}")
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "metadata", {"machine": machine.fingerprint(), **self.metadata})

    @property
    def count(self) -> int:
        """How many values."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """The mean."""
        return statistics.fmean(self.values)

    @property
    def std(self) -> float:
        """The sample's standard deviation (n - 1); 0 for one value."""
        return statistics.stdev(self.values) if self.count > 1 else 0.0

    @property
    def median(self) -> float:
        """The median."""
        return statistics.median(self.values)

    @property
    def min(self) -> float:
        """The smallest value."""
        return min(self.values)

    @property
    def max(self) -> float:
        """The largest value."""
        return max(self.values)

    min_val, max_val = min, max

    @cached_property
    def _mean_interval(self) -> tuple[float, float]:
        return mean_interval(self.values)

    @property
    def ci_lower(self) -> float:
        """The lower bound of the mean's 95 % interval (Student's t; skewed values: `interval`)."""
        return self._mean_interval[0]

    @property
    def ci_upper(self) -> float:
        """The upper bound of the mean's 95 % interval."""
        return self._mean_interval[1]

    @property
    def interval(self) -> Interval:
        """The median with its distribution-free interval."""
        return median_interval(self.values)

    def percentile(self, p: float) -> float:
        """Return a percentile, 0 to 100, by linear interpolation."""
        if not 0 <= p <= 100:
            raise InvalidValue(f"a percentile must be between 0 and 100, got {p!r}")
        return float(np.percentile(self.values, p))

    def ratio_to(self, other: BenchmarkResult) -> float:
        """Return this median over the other's; refuses results of two machines or two metrics.

        Raises MeasurementError for those: such a ratio says nothing about the code.
        """
        here, there = self.metadata["machine"], other.metadata["machine"]
        if here != there:
            raise MeasurementError(
                f"{self.metric_name} was measured on machine {here} and {other.metric_name} on "
                f"{there}: measure both on one"
            )
        units = self.metadata.get("unit"), other.metadata.get("unit")
        if units[0] != units[1]:
            raise MeasurementError(
                f"{self.metric_name} is in {units[0]} and {other.metric_name} in {units[1]}"
            )
        if other.median == 0:
            raise MeasurementError(f"{other.metric_name} has the median 0: there is no ratio to it")
        return self.median / other.median

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: the values and their summary."""
        summary = ("mean", "std", "median", "min", "max", "count", "ci_lower", "ci_upper")
        return {
            "metric_name": self.metric_name,
            "values": list(self.values),
            **{name: getattr(self, name) for name in summary},
            "metadata": dict(self.metadata),
        }

    def __str__(self) -> str:
        unit = f" {self.metadata['unit']}" if "unit" in self.metadata else ""
        return (
            f"{self.metric_name}: median {self.median:.4g}{unit}, mean {self.mean:.4g} "
            f"({self.ci_lower:.4g} .. {self.ci_upper:.4g}), n = {self.count}"
        )


class _Elapsed:
    """What `precise_timer` yields."""

    elapsed: float = 0.0


@contextlib.contextmanager
def precise_timer() -> Iterator[_Elapsed]:
    """Time the block with the collector kept out: `elapsed`, in seconds, once it is left."""
    found, collecting = _Elapsed(), gc.isenabled()
    gc.collect()
    gc.disable()
    start = time.perf_counter_ns()
    try:
        yield found
    finally:
        found.elapsed = (time.perf_counter_ns() - start) / 1e9
        if collecting:
            gc.enable()
