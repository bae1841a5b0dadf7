"""Claims about machines: caches, bandwidth, peaks, cores."""

from __future__ import annotations

import functools

from tinytorch import ops
from tinytorch.errors import MeasurementError
from tinytorch.kernels import registry
from tinytorch.measure import ceilings
from tinytorch.measure.clock import Effort, race
from tinytorch.measure.machine import detect
from tinytorch.native import threads
from tinytorch.perf.claims.claim import Claim, Finding, Reading


def _miss(seconds: float) -> Finding:
    levels = {level.name: level.latency_ns for level in ceilings.ceilings().levels}
    near, far = levels.get("L1"), levels["DRAM"]
    if near is None:
        raise MeasurementError("the caches of this machine are not known")
    read = Reading(
        "DRAM over L1", far.median / near.median, far.low / near.high, far.high / near.low
    )
    told = ", ".join(f"{name} {figure.median:.3g} ns" for name, figure in levels.items())
    return Finding((read,), f"dependent loads: {told}")


def _sizes(level: int) -> float:
    for cache in detect().data_caches:
        if cache.level == level:
            return cache.size_bytes / 1024
    raise MeasurementError(f"this machine tells of no level-{level} cache")


def _cache(level: int, seconds: float) -> Finding:
    size = _sizes(level)
    return Finding((Reading.exact(f"L{level}", size, "KiB"),), "as the machine tells it")


def _bandwidth(seconds: float) -> Finding:
    known = ceilings.ceilings()
    dram = known.level("DRAM")
    one, every = dram.copy_gb_per_s, dram.copy_gb_per_s_all
    return Finding(
        (
            Reading("copy, one thread", one.median, one.low, one.high, "GB/s"),
            Reading("copy, all threads", every.median, every.low, every.high, "GB/s"),
        ),
        "a desktop's figure; servers share theirs among many cores",
    )


def _peak(seconds: float) -> Finding:
    known = ceilings.ceilings()
    figure = known.gflops_per_s["float32"][known.threads]
    count = known.threads
    return Finding(
        (Reading(f"{count} threads", figure.median, figure.low, figure.high, "GFLOP/s"),),
        "a peak is a number of cores times their vectors: this machine's, for the cores in use",
    )


def _library_rate(seconds: float) -> tuple[float, float, float]:
    op = ops.get("matmul")
    shapes = ((1024, 1024), (1024, 1024))
    call = functools.partial(registry.get("matmul", "library"), *op.inputs(shapes))
    taken = race({"library": call}, effort=Effort(seconds=2 * seconds))["library"].interval
    rate = op.flops(shapes) / 1e9
    return rate / taken.median, rate / taken.high, rate / taken.low


def _efficiency(seconds: float) -> Finding:
    known = ceilings.ceilings()
    peak = known.peak_flops_per_s("float32", known.threads) / 1e9
    middle, low, high = (100 * rate / peak for rate in _library_rate(seconds))
    return Finding(
        (Reading("1024 x 1024, library", middle, low, high, "% of peak"),),
        "a good library is near the peak at this size; 43 % would be a poor one, or a wrong peak",
    )


def _rate(seconds: float) -> Finding:
    middle, low, high = _library_rate(seconds)
    return Finding(
        (Reading("1024 x 1024, library", middle, low, high, "GFLOP/s"),),
        f"with {threads.get_num_threads()} threads",
    )


def _cores(seconds: float) -> Finding:
    count = threads.get_num_threads()
    if count < 2:
        raise MeasurementError("one CPU can't tell how several scale")
    every, low, high = _library_rate(seconds)
    with threads.use_threads(1):
        one, one_low, one_high = _library_rate(seconds)
    share = 100 / count
    return Finding(
        (
            Reading(
                f"each of {count} threads, of one alone",
                share * every / one,
                share * low / one_high,
                share * high / one_low,
                "%",
            ),
        ),
        "3 times on 4 cores is 75 % of each: products share little, and so do better",
    )


CLAIMS = (
    Claim("miss-100", "a cache miss costs 100 times a hit (50-300)", 50, 300, _miss),
    Claim("l1-32", "L1 is 32 KB", 31, 33, functools.partial(_cache, 1)),
    Claim("l2-256", "L2 is 256 KB", 250, 260, functools.partial(_cache, 2)),
    Claim("l3-8", "L3 is 8 MB", 8000, 8400, functools.partial(_cache, 3)),
    Claim("dram-50", "memory gives 50 GB/s", 45, 55, _bandwidth),
    Claim("peak-500", "a CPU peaks at 500-1000 GFLOP/s", 500, 1000, _peak),
    Claim("rate-215", "a 1024 product runs at 215 GFLOP/s", 200, 230, _rate),
    Claim("peak-43", "that is 43 % of peak, typical for real code", 38, 48, _efficiency),
    Claim("cores-3", "4 cores bring 3 times, not 4 (75 % each)", 70, 80, _cores),
)
