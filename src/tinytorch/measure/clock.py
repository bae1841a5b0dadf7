"""Timing that can be trusted: calibrated, warmed up, interleaved, and stopped for a reason.

`race` is the one way anything is timed. Alternatives take turns, in an order that changes from
round to round, so that a change of clock speed or load meets all of them alike, and so does what
the one before leaves behind: caches, fresh or used memory, threads that have not gone to sleep yet.
"""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tinytorch.errors import InvalidValue
from tinytorch.measure.sample import Environment, Measurement
from tinytorch.measure.stats import Interval, Verdict, median_interval, ratio_interval, verdict

Call = Callable[[], object]
CacheMode = Literal["hot", "cold"]
_EVICTION_BYTES = 256 << 20


@dataclass(frozen=True)
class Effort:
    """How long to measure: a budget for one race, and when less is enough.

    `seconds` bounds the timed rounds of the whole race; sampling stops earlier once every
    interval is narrower than `relative_width`, or has stopped narrowing.
    """

    seconds: float = 1.0
    relative_width: float = 0.02
    min_rounds: int = 7
    max_rounds: int = 400
    sample_seconds: float = 1e-3


QUICK = Effort(seconds=0.25, relative_width=0.05, min_rounds=6)


@dataclass(frozen=True)
class Comparison:
    """Two measurements taken in turns. `ratio` is how many times faster `candidate` is."""

    baseline: Measurement
    candidate: Measurement
    ratio: Interval = field(init=False)
    verdict: Verdict = field(init=False)

    def __post_init__(self) -> None:
        ratio = ratio_interval(self.baseline.seconds, self.candidate.seconds)
        object.__setattr__(self, "ratio", ratio)
        object.__setattr__(self, "verdict", verdict(ratio))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "baseline": self.baseline.to_dict(),
            "candidate": self.candidate.to_dict(),
            "ratio": self.ratio.to_dict(),
            "verdict": self.verdict,
        }


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Keep the garbage collector out of the samples."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _seconds(call: Call, loops: int) -> float:
    start = time.perf_counter()
    for _ in range(loops):
        call()
    return time.perf_counter() - start


def _warm_up(call: Call, budget_seconds: float) -> tuple[float, int]:
    """Call until two times in a row are within 10 %, and return the last one and the calls."""
    deadline = time.perf_counter() + budget_seconds
    last = _seconds(call, 1)
    calls = 1
    while time.perf_counter() < deadline:
        now = _seconds(call, 1)
        calls += 1
        if calls >= 3 and abs(now - last) <= 0.1 * last:
            return now, calls
        last = now
    return last, calls


def _loops(once: Mapping[str, float], effort: Effort) -> dict[str, int]:
    """Return each alternative's calls a sample: one count for all where they are comparable.

    A count that suits the fastest would make an alternative a thousand times slower take minutes,
    so beyond a factor of 20 each has its own.
    """
    own = {n: max(1, round(effort.sample_seconds / max(s, 1e-9))) for n, s in once.items()}
    most = max(own.values())
    if max(once.values()) <= 20 * max(min(once.values()), 1e-9):
        return dict.fromkeys(own, most)
    return own


def _refine(calls: Mapping[str, Call], loops: dict[str, int], effort: Effort) -> dict[str, int]:
    """Correct counts that single, cold-clocked calls got wrong: a sample must be long enough."""
    if max(loops.values()) == 1:
        return loops
    seconds = {name: _seconds(calls[name], loops[name]) / loops[name] for name in calls}
    return _loops(seconds, effort)


class _Evictor:
    """Pushes everything out of the caches by walking a buffer larger than all of them."""

    def __init__(self) -> None:
        import numpy as np

        self._buffer = np.zeros(_EVICTION_BYTES, np.uint8)

    def __call__(self) -> None:
        self._buffer[::64] += 1


def _narrow(samples: Mapping[str, list[float]], effort: Effort) -> tuple[bool, float]:
    """Return whether every interval is narrow enough, and the widest."""
    names = list(samples)
    base = samples[names[0]]
    if len(names) == 1:
        widths = [median_interval(base).relative_width]
    else:
        ratios = [ratio_interval(base, samples[n]) for n in names[1:]]
        # A ratio this far from 1 answers its question already.
        widths = [r.relative_width if 0.5 < r.median < 2 else r.relative_width / 4 for r in ratios]
    return max(widths) <= effort.relative_width, max(widths)


def race(
    calls: Mapping[str, Call],
    *,
    effort: Effort | None = None,
    cache: CacheMode = "hot",
    metadata: Mapping[str, Mapping[str, Any]] | None = None,
    on_round: Callable[[int], None] | None = None,
) -> dict[str, Measurement]:
    """Time alternatives in turns and return a Measurement for each, by name.

    `calls` take no arguments. The first call of each is timed apart (it may compile). With
    `cache="cold"`, caches are emptied before each sample and a sample is one call. Ctrl-C ends
    the rounds early and keeps whole rounds; before the first whole round it propagates.
    """
    effort = effort or Effort()
    if not calls:
        raise InvalidValue("race needs at least one alternative, got none")
    if cache not in ("hot", "cold"):
        raise InvalidValue(f"cache must be 'hot' or 'cold', got {cache!r}")
    first = {name: _seconds(call, 1) for name, call in calls.items()}
    warmed = {n: _warm_up(c, min(0.2, effort.seconds / 4)) for n, c in calls.items()}
    loops = _loops({n: seconds for n, (seconds, _) in warmed.items()}, effort)
    loops = dict.fromkeys(calls, 1) if cache == "cold" else _refine(calls, loops, effort)
    with _no_collection():
        samples, stopped = _rounds(calls, loops, effort, cache, on_round)
    here = Environment.now()
    return {
        name: Measurement(
            name=name,
            seconds=tuple(samples[name]),
            loops=loops[name],
            warmups=warmed[name][1],
            first_call_seconds=first[name],
            cache=cache,
            stopped=stopped,
            environment=here,
            metadata=dict((metadata or {}).get(name, {})),
        )
        for name in calls
    }


def _rounds(
    calls: Mapping[str, Call],
    loops: Mapping[str, int],
    effort: Effort,
    cache: CacheMode,
    on_round: Callable[[int], None] | None,
) -> tuple[dict[str, list[float]], str]:
    samples: dict[str, list[float]] = {name: [] for name in calls}
    try:
        stopped = _sample(samples, calls, loops, effort, cache, on_round)
    except KeyboardInterrupt:
        whole = min(map(len, samples.values()))
        if not whole:
            raise
        return {name: taken[:whole] for name, taken in samples.items()}, "interrupted"
    return samples, stopped


def in_turn(names: Sequence[str], number: int) -> list[str]:
    """Return the order of a round, of which `number` were before it.

    Over 2n rounds of n names each is in each place equally often, and follows each other one
    equally often (Williams, "Experimental designs balanced for the estimation of residual effects
    of treatments", 1949). Every second round is the one before it backwards.
    """
    count, shift = len(names), number // 2
    zigzag = [(i + 1) // 2 if i % 2 else -i // 2 for i in range(count)]
    order = [names[(place + shift) % count] for place in zigzag]
    return order[::-1] if number % 2 else order


def _sample(
    samples: dict[str, list[float]],
    calls: Mapping[str, Call],
    loops: Mapping[str, int],
    effort: Effort,
    cache: CacheMode,
    on_round: Callable[[int], None] | None,
) -> str:
    """Fill `samples` round by round, and return why it stopped."""
    evict = _Evictor() if cache == "cold" else None
    names = list(calls)
    deadline = time.perf_counter() + effort.seconds
    checked_width, checked_at = float("inf"), effort.min_rounds
    for done in range(1, effort.max_rounds + 1):
        for name in in_turn(names, done - 1):
            if evict:
                evict()
            samples[name].append(_seconds(calls[name], loops[name]) / loops[name])
        if on_round:
            on_round(done)
        if done >= effort.min_rounds:
            narrow, width = _narrow(samples, effort)
            if narrow:
                return "interval"
            if done >= 2 * checked_at:
                if width > 0.9 * checked_width:
                    return "stalled"
                checked_width, checked_at = width, done
        # A rung slower than the whole budget still gets three samples; the interval says so.
        if time.perf_counter() > deadline and done >= 3:
            return "budget"
    return "budget"


def measure(call: Call, name: str = "call", *, effort: Effort | None = None) -> Measurement:
    """Time one call by itself. To say which of two is faster, use `compare`."""
    return race({name: call}, effort=effort)[name]


def compare(
    baseline: Call,
    candidate: Call,
    *,
    names: tuple[str, str] = ("baseline", "candidate"),
    effort: Effort | None = None,
    cache: CacheMode = "hot",
) -> Comparison:
    """Time two calls in turns and say whether `candidate` is faster, slower or the same."""
    if names[0] == names[1]:
        names = (names[0], f"{names[1]} (again)")
    taken = race({names[0]: baseline, names[1]: candidate}, effort=effort, cache=cache)
    return Comparison(taken[names[0]], taken[names[1]])


@dataclass(frozen=True)
class SelfTest:
    """How often this machine tells a function from itself: the rate of false verdicts."""

    comparisons: int
    false_verdicts: int
    unresolved: int
    widest: float

    @property
    def rate(self) -> float:
        """False verdicts a comparison."""
        return self.false_verdicts / self.comparisons


def self_test(
    call: Call,
    comparisons: int = 50,
    *,
    effort: Effort = QUICK,
    on_comparison: Callable[[int], None] | None = None,
) -> SelfTest:
    """Compare `call` with itself many times; every `faster` or `slower` is a false one."""
    if comparisons < 1:
        raise InvalidValue(f"a self-test needs at least one comparison, got {comparisons}")
    outcomes = []
    for done in range(comparisons):
        outcomes.append(compare(call, call, names=("A", "A'"), effort=effort))
        if on_comparison:
            on_comparison(done + 1)
    said = [outcome.verdict for outcome in outcomes]
    return SelfTest(
        comparisons=comparisons,
        false_verdicts=sum(v in ("faster", "slower") for v in said),
        unresolved=said.count("unresolved"),
        widest=max(outcome.ratio.relative_width for outcome in outcomes),
    )
