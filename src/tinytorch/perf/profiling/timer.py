"""Timer: the distribution of one function's times, call by call."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinytorch.errors import InvalidValue


def checked_count(value: Any, name: str, least: int) -> int:
    """Return a count as an int; raises InvalidValue unless it is one of at least `least`."""
    if not hasattr(value, "__index__") or isinstance(value, bool) or value < least:
        raise InvalidValue(f"{name} must be an int of at least {least}, got {value!r}")
    return int(value)


def time_calls(call: Callable[[], Any], warmup: int, runs: int) -> list[float]:
    """Return the seconds of each of `runs` calls, the collector kept out, after `warmup` others."""
    warmup, runs = checked_count(warmup, "warmup", 0), checked_count(runs, "the number of runs", 1)
    for _ in range(warmup):
        call()
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        return [_seconds(call) for _ in range(runs)]
    finally:
        if collecting:
            gc.enable()


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start) / 1e9


class Timer:
    """Times single calls, so that percentiles are those of calls.

    To say which of two functions is faster, use `tinytorch.measure.clock.compare`, which takes
    turns; two results of this class taken one after another also hold what the machine did
    meanwhile.
    """

    def __init__(self) -> None:
        """Start without a measurement."""
        self.measurements: list[float] = []

    def measure(
        self,
        func: Callable[..., Any],
        warmup: int = 3,
        runs: int = 100,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> dict[str, float | int]:
        """Call `func(*args, **kwargs)` and return milliseconds a call.

        Keys: mean_ms, std_ms, min_ms, max_ms, p50_ms, p95_ms, p99_ms (linear interpolation, as
        np.percentile) and runs. `measurements` keeps each call's time in ms. Raises InvalidValue
        for runs < 1, warmup < 0 or what can't be called.
        """
        if not callable(func):
            raise InvalidValue(f"Timer measures a function, got a {type(func).__name__}")
        keywords = dict(kwargs or {})
        seconds = time_calls(lambda: func(*args, **keywords), warmup, runs)
        self.measurements = [1e3 * s for s in seconds]
        return {**statistics_ms(seconds), "runs": len(seconds)}


def statistics_ms(seconds: list[float]) -> dict[str, float]:
    """Return mean, deviation (of the population), extremes and percentiles in milliseconds."""
    ms = 1e3 * np.asarray(seconds)
    p50, p95, p99 = np.percentile(ms, (50, 95, 99))
    return {
        "mean_ms": float(ms.mean()),
        "std_ms": float(ms.std()),
        "min_ms": float(ms.min()),
        "max_ms": float(ms.max()),
        "p50_ms": float(p50),
        "p95_ms": float(p95),
        "p99_ms": float(p99),
    }
