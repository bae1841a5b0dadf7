"""benchmark: a function of matrices over growing sizes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinytorch.backends.recording import recording
from tinytorch.errors import InvalidValue
from tinytorch.measure.clock import Effort, measure
from tinytorch.measure.units import interval_text
from tinytorch.perf.profiling.timer import checked_count

_EFFORT = Effort(seconds=0.5)


def _arity(function: Callable[..., Any]) -> int:
    """Return how many matrices a function takes: its parameters without defaults."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):
        return int(getattr(function, "nin", 2))
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds and p.default is p.empty for p in parameters)


def benchmark(
    func: Callable[..., Any], sizes: Sequence[int] = (128, 256, 512)
) -> dict[int, dict[str, Any]]:
    """Time a function of one or more N x N float32 matrices for each size, print and return it.

    {N: {"median_ms", "low_ms", "high_ms" (the median's interval), "samples", and, where the
    function dispatches ops, "flops" and "gflops_per_s"}}. The matrices are standard normal, from a
    seed; the function takes as many as it has parameters without defaults.
    """
    if not callable(func):
        raise InvalidValue(f"benchmark times a function, got a {type(func).__name__}")
    count = _arity(func)
    if count < 1:
        raise InvalidValue(f"benchmark gives matrices to a function, and {func} takes none")
    rows: dict[int, dict[str, Any]] = {}
    for size in sizes:
        n = checked_count(size, "each size", 1)
        rng = np.random.default_rng([0, n])
        given = [rng.standard_normal((n, n), np.float32) for _ in range(count)]
        rows[n] = _timed(func, given)
        rate = f", {rows[n]['gflops_per_s']:.1f} GFLOP/s" if "gflops_per_s" in rows[n] else ""
        print(f"{getattr(func, '__name__', 'function')} {n} x {n}: {rows[n].pop('text')}{rate}")
    return rows


def _timed(func: Callable[..., Any], given: list[Any]) -> dict[str, Any]:
    with recording() as recorder:
        func(*given)
    taken = measure(lambda: func(*given), effort=_EFFORT)
    row = {
        "median_ms": 1e3 * taken.median,
        "low_ms": 1e3 * taken.interval.low,
        "high_ms": 1e3 * taken.interval.high,
        "samples": len(taken.seconds),
        "text": interval_text(taken.interval),
    }
    done = recorder.totals().flops
    if done:
        row |= {"flops": done, "gflops_per_s": done / taken.median / 1e9}
    return row
