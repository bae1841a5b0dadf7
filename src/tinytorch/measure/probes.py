"""Taking turns at the microkernels: rates per second, as raw samples.

Each probe repeats one microkernel; the probes of one group take turns, so that a change of clock
speed or load meets them alike, until the group's time is up.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinytorch.errors import MeasurementError
from tinytorch.measure import microkernels
from tinytorch.measure.caches import Cache, instances
from tinytorch.native import level, threads

# No core is clocked higher, multiplies and adds in more vectors a cycle, or loads and stores more.
_CLOCK_HZ, _ARITHMETIC_UNITS, _MEMORY_PORTS = 7e9, 4, 6
_SCALE = 3.0
# NOTE: one pass is not enough: a last-level cache may keep a line only from its second visit on.
_WARM_PASSES = 4

_DRAM_SETS = 4
_MOST_DRAM_BYTES = 1 << 30
# The distance of loads where the line's size can't be read: no cache has wider ones.
_WIDEST_LINE_BYTES = 128


@dataclass(frozen=True)
class Budget:
    """How long one group of probes may sample, and how long a sample must last."""

    seconds: float
    sample_seconds: float
    min_rounds: int = 7


@dataclass(frozen=True)
class Probe:
    """A microkernel at one number of threads: `run(repeats)` does `work` in each repeat.

    A rate above `limit` a second is not possible on any core: the loop was not run. `warm` brings
    back, before each sample, what the other probes drove out of the cache; a sample lasts
    `sample_share` of the usual time.
    """

    name: str
    threads: int
    work: float
    limit: float
    run: Callable[[int], object]
    warm: Callable[[], object] | None = None
    sample_share: float = 1.0


def _rate(probe: Probe, repeats: int) -> tuple[float, float]:
    """Return work a second, and the seconds it was measured over."""
    if probe.warm:
        probe.warm()
    start = time.perf_counter()
    probe.run(repeats)
    seconds = time.perf_counter() - start
    rate = probe.work * repeats / max(seconds, 1e-9)
    if rate > probe.limit:
        raise MeasurementError(
            f"the probe {probe.name!r} on {probe.threads} thread(s) gave {rate:.3g} a second, and "
            f"no CPU does more than {probe.limit:.3g}: its loop was deleted or did not run; clear "
            "the cache folder and try again, and report this CPU and LLVM version if it stays"
        )
    return rate, seconds


def _calibrate(probe: Probe, sample_seconds: float) -> float:
    """Return the work that one thread does in a sample."""
    wanted = sample_seconds * probe.sample_share
    repeats = 1
    while True:
        # The fastest of three: a hiccup must not pass for work.
        rate, seconds = max(_rate(probe, repeats) for _ in range(3))
        if seconds >= wanted / 8:
            return rate * wanted
        repeats *= 4


def _repeats(probes: Sequence[Probe], sample_seconds: float) -> list[int]:
    """Return each probe's repeats a sample: for all threads, as much work each as one alone does.

    The time of several threads together is no guide, since on a busy machine most of it is spent
    waiting for the last one to be given a CPU.
    """
    alone = {p.name: _calibrate(p, sample_seconds) for p in probes if p.threads == 1}
    return [max(1, round(alone[p.name] * p.threads / p.work)) for p in probes]


def sample_rates(
    probes: Sequence[Probe], budget: Budget, on_round: Callable[[float], None] | None = None
) -> dict[tuple[str, int], list[float]]:
    """Return samples of work per second by (name, threads); `on_round` gets the share done.

    Each name must be there for one thread, too. Raises MeasurementError for a rate that no CPU has.
    """
    for probe in probes:  # the first call may compile, and wakes the threads up
        with threads.use_threads(probe.threads):
            probe.run(1)
    with threads.use_threads(1):
        repeats = _repeats(probes, budget.sample_seconds)
    rates: dict[tuple[str, int], list[float]] = {(p.name, p.threads): [] for p in probes}
    start = time.perf_counter()
    done = 0.0
    rounds = 0
    while done < 1 or rounds < budget.min_rounds:
        for probe, count in zip(probes, repeats, strict=True):
            with threads.use_threads(probe.threads):
                rates[probe.name, probe.threads].append(_rate(probe, count)[0])
        rounds += 1
        done = (time.perf_counter() - start) / budget.seconds
        if on_round:
            on_round(min(1.0, done))
    return rates


def _working_set(cache: Cache, threads: int) -> int:
    return cache.size_bytes // 2 * instances(threads, cache.shared_by)


def _dram_working_set(last: Cache | None, threads: int) -> tuple[int, str | None]:
    """Return the bytes to measure DRAM over, and a remark where they are fewer than they should."""
    import psutil

    most = min(_MOST_DRAM_BYTES, int(psutil.virtual_memory().available) // 8)
    if last is None:
        return most, "no cache could be read here: only DRAM has a ceiling"
    wanted = _DRAM_SETS * last.size_bytes * instances(threads, last.shared_by)
    if wanted <= most:
        return wanted, None
    return most, (
        f"DRAM was measured over {most >> 20} MiB by {threads} thread(s), not four times the last "
        f"cache ({wanted >> 20} MiB): some of it may have come from there; free memory, or take "
        "its figures as upper bounds"
    )


@dataclass(frozen=True)
class Place:
    """A level to measure: a cache, or DRAM (None), and the bytes to use by number of threads."""

    name: str
    cache: Cache | None
    bytes_by_threads: Mapping[int, int]
    line_bytes: int


def places(caches: Sequence[Cache], counts: Sequence[int]) -> tuple[list[Place], list[str]]:
    """Return where to measure, nearest first, and what must be said about it."""
    last = caches[-1] if caches else None
    line = (last and last.line_bytes) or _WIDEST_LINE_BYTES
    found = [
        Place(f"L{c.level}", c, {n: _working_set(c, n) for n in counts}, c.line_bytes or line)
        for c in caches
    ]
    dram = {n: _dram_working_set(last, n) for n in counts}
    found.append(Place("DRAM", None, {n: size for n, (size, _) in dram.items()}, line))
    remarks = dict.fromkeys(remark for _, remark in dram.values() if remark)
    return found, list(remarks)


def peak_probes(dtypes: Sequence[str], thread_counts: Sequence[int]) -> list[Probe]:
    """Return probes of FLOP/s named by dtype: independent multiply-adds in vector registers."""
    probes = []
    for dtype in dtypes:
        real = np.dtype(dtype).type
        for count in thread_counts:
            start = np.random.default_rng(0).random(microkernels.chain_shape(count, dtype))
            start = start.astype(dtype)
            run = functools.partial(
                microkernels.fma_chains, start, real(0.75), real(0.25), np.empty_like(start)
            )
            limit = 2 * level.lanes(dtype) * _ARITHMETIC_UNITS * _CLOCK_HZ * count
            probes.append(Probe(dtype, count, 2.0 * start.size, limit, run))
    return probes


def stream_probes(thread_count: int, total_bytes: int, warm: bool) -> list[Probe]:
    """Return probes of bytes a second ('read', 'copy', 'triad', 'triad_nontemporal').

    All work in the same `total_bytes`, an equal part a thread.
    """
    with threads.use_threads(thread_count):
        buffer = microkernels.stream_buffer(thread_count, total_bytes // thread_count)
    limit = _MEMORY_PORTS * level.vector_bytes() * _CLOCK_HZ * thread_count
    one, two, three = (microkernels.operand_size(buffer, count) for count in (1, 2, 3))
    sums = np.zeros(thread_count)
    runs: dict[str, tuple[int, functools.partial[object]]] = {
        "read": (8 * one, functools.partial(microkernels.read, buffer, one, sums)),
        "copy": (16 * two, functools.partial(microkernels.copy, buffer, two)),
        "triad": (24 * three, functools.partial(microkernels.triad, buffer, three, _SCALE)),
        "triad_nontemporal": (
            24 * three,
            functools.partial(microkernels.triad_past_cache, buffer, three, _SCALE),
        ),
    }
    probes = []
    for name, (bytes_per_thread, run) in runs.items():
        work = bytes_per_thread * thread_count
        warm_up = functools.partial(run, _WARM_PASSES) if warm else None
        probes.append(Probe(name, thread_count, work, limit, run, warm_up))
    return probes


def latency_probe(total_bytes: int, line_bytes: int, warm: bool) -> Probe:
    """Return the probe of dependent loads a second ('latency'), one thread, random lines."""
    lines = microkernels.chase_operand(total_bytes, line_bytes)
    chase = functools.partial(microkernels.chase, lines)
    loads = 256

    def run(repeats: int) -> object:
        return chase(repeats * loads)

    def sweep() -> None:
        for _ in range(_WARM_PASSES):
            lines.max()

    if not warm:
        return Probe("latency", 1, loads, _CLOCK_HZ, run)
    # NOTE: a walk through every line of a large shared cache takes so long that neighbours push
    # lines out before it comes to them, and it meets DRAM instead (16 MiB: 130 ns, not 22). So:
    # read all lines in order, which takes a millisecond, and walk for a moment only.
    return Probe("latency", 1, loads, _CLOCK_HZ, run, warm=sweep, sample_share=0.1)
