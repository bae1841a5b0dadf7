"""How a model is asked: one query after another, all at once, or by many users.

The scenarios of MLPerf Inference (Reddi et al., 2020), each with real queries and a real clock.
Arrivals of the server scenario come from a seed: exponential gaps, as of many independent users.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch.errors import InvalidValue
from tinytorch.perf.profiling.timer import checked_count

Query = Callable[[int], Any]
# A wait shorter than this is spun: sleep may return that much too late.
_SPIN_SECONDS = 1e-3
_SEARCH_STEPS = 5


@dataclass(frozen=True)
class Load:
    """What a server was asked and how it answered: latencies are from arrival to answer."""

    queries_per_s: float
    latencies_ms: tuple[float, ...]

    def percentile(self, p: float) -> float:
        """Return a percentile of the latencies, in ms."""
        return float(np.percentile(self.latencies_ms, p))


def single_stream(query: Query, count: int = 100, warmup: int = 5) -> dict[str, Any]:
    """Ask one query after another: `query(i)` answers the i-th. MLPerf's figure is the p90."""
    checked_count(count, "count", 1)
    for i in range(warmup):
        query(i % count)
    ms = []
    for i in range(count):
        start = time.perf_counter_ns()
        query(i)
        ms.append((time.perf_counter_ns() - start) / 1e6)
    p50, p90, p99 = np.percentile(ms, (50, 90, 99))
    return {
        "scenario": "single_stream",
        "queries": count,
        "latencies_ms": ms,
        "mean_latency_ms": float(np.mean(ms)),
        "std_latency_ms": float(np.std(ms)),
        "p50_latency_ms": float(p50),
        "p90_latency_ms": float(p90),
        "p99_latency_ms": float(p99),
        "throughput_per_s": 1e3 * count / sum(ms),
    }


def offline(whole: Callable[[], Any], samples: int, repeats: int = 5) -> dict[str, Any]:
    """Ask for all samples at once: `whole()` answers `samples` of them. The figure is samples/s."""
    checked_count(samples, "samples", 1)
    checked_count(repeats, "repeats", 1)
    whole()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        whole()
        seconds.append(time.perf_counter() - start)
    median = float(np.median(seconds))
    return {
        "scenario": "offline",
        "samples": samples,
        "seconds": seconds,
        "throughput_per_s": samples / median,
    }


def arrivals(count: int, queries_per_s: float, seed: int) -> np.ndarray[Any, Any]:
    """Return when each query comes, in seconds from the start: a Poisson process of that rate."""
    if not queries_per_s > 0:
        raise InvalidValue(f"queries_per_s must be positive, got {queries_per_s!r}")
    gaps = np.random.default_rng(seed).exponential(1 / queries_per_s, count)
    return np.cumsum(gaps)


def _wait_until(moment: float) -> None:
    while (left := moment - time.perf_counter()) > 0:
        if left > _SPIN_SECONDS:
            time.sleep(left - _SPIN_SECONDS)


def serve(query: Query, queries_per_s: float, count: int, seed: int = 42) -> Load:
    """Answer queries as they arrive, first come first served, on one server, in real time."""
    checked_count(count, "count", 1)
    times: Sequence[float] = arrivals(count, queries_per_s, seed).tolist()
    latencies, start = [], time.perf_counter()
    for i, due in enumerate(times):
        _wait_until(start + due)
        query(i)
        latencies.append(1e3 * (time.perf_counter() - start - due))
    return Load(queries_per_s, tuple(latencies))


def server(
    query: Query, latency_bound_ms: float, count: int = 100, seed: int = 42
) -> dict[str, Any]:
    """Find how many queries a second can come so that 99 % are answered within the bound.

    The rate is halved in on between none and what the server can do without a pause; each rate is
    tried for real, with the same seeded arrivals. `queries_per_s` is 0 where even a query without
    company takes longer than the bound.
    """
    if not latency_bound_ms > 0:
        raise InvalidValue(f"latency_bound_ms must be positive, got {latency_bound_ms!r}")
    alone = single_stream(query, count)
    tried: list[Load] = []
    low, high = 0.0, alone["throughput_per_s"]
    best: Load | None = None
    if alone["p99_latency_ms"] <= latency_bound_ms:
        for _ in range(_SEARCH_STEPS):
            load = serve(query, (low + high) / 2, count, seed)
            tried.append(load)
            if load.percentile(99) <= latency_bound_ms:
                low, best = load.queries_per_s, load
            else:
                high = load.queries_per_s
    return {
        "scenario": "server",
        "seed": seed,
        "latency_bound_ms": latency_bound_ms,
        "queries": count,
        "queries_per_s": best.queries_per_s if best else 0.0,
        "p99_latency_ms": best.percentile(99) if best else alone["p99_latency_ms"],
        "tried": [(t.queries_per_s, t.percentile(99)) for t in tried],
    }
