"""Timing is tested on a clock that only the timed calls move: nothing here depends on real time."""

from __future__ import annotations

import gc
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain, cycle, repeat
from typing import Any

import pytest

from tinytorch.errors import InvalidValue
from tinytorch.measure import clock
from tinytorch.measure.clock import Comparison, Effort, compare, measure, race, self_test

US, MS = 1e-6, 1e-3


class FakeTime:
    """Stands in for the module `time`; a call made by `costing` takes as long as it is told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.log: list[str] = []

    def perf_counter(self) -> float:
        return self.now

    def costing(self, *seconds: float, name: str = "call") -> Callable[[], None]:
        """Return a call that takes these seconds one after another, the last ones for ever."""
        return self.taking(chain(seconds, repeat(seconds[-1])), name)

    def taking(self, costs: Iterator[float], name: str = "call") -> Callable[[], None]:
        def call() -> None:
            self.log.append(name)
            self.now += next(costs)

        return call


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(clock, "time", fake)
    return fake


# Calibration ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "loops"), [(1 * US, 1000), (40 * US, 25), (0.7 * MS, 1), (5 * MS, 1)]
)
def test_a_sample_lasts_as_long_as_asked(time: FakeTime, seconds: float, loops: int) -> None:
    taken = measure(time.costing(seconds))
    assert taken.loops == loops
    assert taken.median == pytest.approx(seconds)


def test_comparable_calls_share_one_loop_count(time: FakeTime) -> None:
    taken = race({"fast": time.costing(10 * US), "slow": time.costing(150 * US)})
    assert {m.loops for m in taken.values()} == {100}


def test_a_call_a_thousand_times_slower_has_its_own_loop_count(time: FakeTime) -> None:
    taken = race({"fast": time.costing(1 * US), "slow": time.costing(1 * MS)})
    assert (taken["fast"].loops, taken["slow"].loops) == (1000, 1)


def test_a_count_from_slow_first_calls_is_corrected(time: FakeTime) -> None:
    taken = measure(time.costing(*[100 * US] * 4, 1 * US))
    assert taken.loops == 1000


# What is kept apart ---------------------------------------------------------------------------


def test_the_first_call_is_kept_apart(time: FakeTime) -> None:
    taken = measure(time.costing(2.0, 1 * MS))
    assert taken.first_call_seconds == pytest.approx(2.0)
    assert max(taken.seconds) == pytest.approx(1 * MS)


def test_warm_up_goes_on_until_two_calls_agree(time: FakeTime) -> None:
    taken = measure(time.costing(9 * MS, 8 * MS, 6 * MS, 4 * MS, 2 * MS))
    # After the first call: 8, 6, 4, 2, 2.
    assert taken.warmups == 5
    assert max(taken.seconds) == pytest.approx(2 * MS)


def test_warm_up_gives_up_at_its_budget(time: FakeTime) -> None:
    restless = time.taking(cycle([10 * MS, 20 * MS]))
    taken = measure(restless, effort=Effort(seconds=0.4, max_rounds=3))
    assert taken.warmups <= 8  # 0.1 s


def test_the_garbage_collector_waits(time: FakeTime) -> None:
    seen = []

    def call() -> None:
        time.now += MS
        seen.append(gc.isenabled())

    measure(call)
    assert gc.isenabled()
    assert seen[0] and not seen[-1]

    def failing() -> None:
        call()
        if not gc.isenabled():
            raise RuntimeError("in the middle of a sample")

    with pytest.raises(RuntimeError, match="in the middle"):
        measure(failing)
    assert gc.isenabled()


# Turns ----------------------------------------------------------------------------------------


def test_alternatives_take_turns_in_every_order(time: FakeTime) -> None:
    rounds: list[str] = []

    def after_round(done: int) -> None:
        rounds.append("".join(time.log))
        time.log.clear()

    calls = {name: time.costing(2 * MS, name=name) for name in "ABC"}
    taken = race(calls, effort=Effort(max_rounds=6, min_rounds=9), on_round=after_round)
    assert rounds[0].endswith("ABC")
    assert rounds[1:] == ["CBA", "BCA", "ACB", "CAB", "BAC"]
    assert [len(m.seconds) for m in taken.values()] == [6, 6, 6]


@pytest.mark.parametrize("count", range(1, 9))
def test_each_follows_each_other_equally_often(count: int) -> None:
    names = "ABCDEFGH"[:count]
    rounds = [clock.in_turn(names, number) for number in range(2 * count)]
    assert all(sorted(order) == list(names) for order in rounds)
    follows = Counter(pair for order in rounds for pair in itertools.pairwise(order))
    places = Counter((i, name) for order in rounds for i, name in enumerate(order))
    assert follows == dict.fromkeys(itertools.permutations(names, 2), 2)
    assert set(places.values()) == {2} and len(places) == count**2


def test_a_load_that_comes_and_goes_meets_both_alike(time: FakeTime) -> None:
    # The machine slows down steadily by a factor of 3: sequential timing would see 1.5 to 2.
    load = iter(2 * MS * (1 + i / 100) for i in range(1000))
    said = compare(time.taking(load), time.taking(load), effort=Effort(max_rounds=100))
    assert said.verdict == "same"
    assert said.ratio.median == pytest.approx(1, abs=0.02)


# Caches ---------------------------------------------------------------------------------------


def test_cold_caches_are_emptied_before_each_single_call(
    time: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "_Evictor", lambda: time.costing(50 * MS, name="evict"))
    effort = Effort(max_rounds=3)
    calls = {"A": time.costing(1 * US, name="A"), "B": time.costing(1 * US, name="B")}
    taken = race(calls, effort=effort, cache="cold")
    order = ["A", "B", "B", "A", "B", "A"]
    assert time.log[-12:] == [word for name in order for word in ("evict", name)]
    assert taken["A"].loops == 1
    assert taken["A"].cache == "cold"
    assert taken["A"].median == pytest.approx(1 * US)  # emptying is not timed


def test_the_evictor_writes_every_line_of_its_buffer() -> None:
    evict = clock._Evictor()
    evict()
    evict()
    assert evict._buffer.nbytes >= 128 << 20
    assert (evict._buffer[::64] == 2).all()


def test_another_cache_mode_is_refused() -> None:
    with pytest.raises(InvalidValue, match="'lukewarm'"):
        race({"A": lambda: None}, cache="lukewarm")  # type: ignore[arg-type]


# Stopping -------------------------------------------------------------------------------------


def test_steady_samples_stop_at_the_least_number(time: FakeTime) -> None:
    taken = measure(time.costing(2 * MS), effort=Effort(min_rounds=7))
    assert (taken.stopped, len(taken.seconds)) == ("interval", 7)


def test_samples_that_narrow_no_more_stop(time: FakeTime) -> None:
    noise = time.taking(cycle([2 * MS, 3 * MS]))
    taken = measure(noise, effort=Effort(seconds=10, min_rounds=7))
    assert (taken.stopped, len(taken.seconds)) == ("stalled", 28)


def test_the_budget_ends_it_but_not_before_three_samples(time: FakeTime) -> None:
    taken = measure(time.costing(2.0), effort=Effort(seconds=1.0))
    assert (taken.stopped, len(taken.seconds)) == ("budget", 3)
    noisy = measure(time.taking(cycle([2 * MS, 4 * MS])), effort=Effort(seconds=0.03))
    assert noisy.stopped == "budget"
    assert 3 < len(noisy.seconds) < 14


def test_rounds_are_bounded(time: FakeTime) -> None:
    restless = time.taking(cycle([2 * MS, 4 * MS]))
    taken = measure(restless, effort=Effort(max_rounds=5))
    assert (taken.stopped, len(taken.seconds)) == ("budget", 5)


@pytest.mark.parametrize("whole", [2, 3])  # A comes first in odd rounds, B in even ones
def test_an_interrupt_keeps_whole_rounds(time: FakeTime, whole: int) -> None:
    calls_left = iter([2 * MS] * (4 + whole))  # a first call and three to warm up

    def interrupted() -> None:
        try:
            time.now += next(calls_left)
        except StopIteration:
            raise KeyboardInterrupt from None

    effort = Effort(min_rounds=20)
    taken = race({"A": time.costing(2 * MS), "B": interrupted}, effort=effort)
    assert {m.stopped for m in taken.values()} == {"interrupted"}
    assert len(taken["A"].seconds) == len(taken["B"].seconds) == whole


def test_an_interrupt_between_rounds_keeps_them(time: FakeTime) -> None:
    def after_round(done: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    calls = {"A": time.costing(2 * MS)}
    taken = race(calls, effort=Effort(min_rounds=9), on_round=after_round)["A"]
    assert (taken.stopped, len(taken.seconds)) == ("interrupted", 4)


def test_an_interrupt_before_the_first_whole_round_is_passed_on(time: FakeTime) -> None:
    def interrupted() -> None:
        if len(time.log) > 4:  # after the other one's first call, warm-up and first sample
            raise KeyboardInterrupt
        time.now += 2 * MS

    with pytest.raises(KeyboardInterrupt):
        race({"A": time.costing(2 * MS), "B": interrupted})
    assert gc.isenabled()


def test_an_error_of_the_call_is_passed_on() -> None:
    with pytest.raises(ZeroDivisionError):
        measure(lambda: 1 / 0)


def test_a_race_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidValue, match="at least one"):
        race({})


# What is returned -----------------------------------------------------------------------------


def test_metadata_and_environment_go_with_each(time: FakeTime) -> None:
    calls = {"A": time.costing(MS), "B": time.costing(MS)}
    taken = race(calls, metadata={"A": {"flops": 8}})
    assert dict(taken["A"].metadata) == {"flops": 8}
    assert dict(taken["B"].metadata) == {}
    assert taken["A"].environment.usable_cpus >= taken["A"].environment.threads >= 1
    assert taken["A"].name == "A"


@pytest.mark.parametrize(
    ("baseline", "candidate", "said"),
    [(2 * MS, 1 * MS, "faster"), (1 * MS, 2 * MS, "slower"), (2 * MS, 2.02 * MS, "same")],
)
def test_compare(time: FakeTime, baseline: float, candidate: float, said: str) -> None:
    found = compare(time.costing(baseline), time.costing(candidate), names=("old", "new"))
    assert found.verdict == said
    assert found.ratio.median == pytest.approx(baseline / candidate)
    assert (found.baseline.name, found.candidate.name) == ("old", "new")
    assert found.to_dict()["verdict"] == said
    assert found.to_dict()["ratio"]["median"] == found.ratio.median


def test_noise_leaves_a_comparison_unresolved(time: FakeTime) -> None:
    noise = cycle([2 * MS, 2.4 * MS, 1.7 * MS, 2.2 * MS, 1.9 * MS])
    found = compare(time.taking(noise), time.costing(2 * MS), effort=Effort(max_rounds=20))
    assert found.verdict == "unresolved"


def test_too_few_pairs_prove_nothing(time: FakeTime) -> None:
    found = compare(time.costing(2.0), time.costing(1.0), effort=Effort(seconds=1))
    assert len(found.baseline.seconds) == 3
    assert found.verdict == "unresolved"


def test_one_function_can_be_compared_with_itself(time: FakeTime) -> None:
    call = time.costing(2 * MS)
    found = compare(call, call, names=("same", "same"))
    assert (found.baseline.name, found.candidate.name) == ("same", "same (again)")


def test_measurements_that_are_no_pairs_can_not_be_compared(time: FakeTime) -> None:
    long = measure(time.costing(2 * MS), effort=Effort(min_rounds=9))
    short = measure(time.costing(2 * MS), effort=Effort(min_rounds=7))
    with pytest.raises(InvalidValue, match="9 and 7"):
        Comparison(long, short)


# The self-test --------------------------------------------------------------------------------


def test_a_steady_machine_never_tells_a_call_from_itself(time: FakeTime) -> None:
    seen: list[int] = []
    found = self_test(time.costing(MS), comparisons=5, on_comparison=seen.append)
    assert (found.comparisons, found.false_verdicts, found.unresolved) == (5, 0, 0)
    assert found.rate == 0
    assert seen == [1, 2, 3, 4, 5]


def test_every_verdict_about_a_call_and_itself_is_a_false_one(
    time: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each tuple is what a comparison sees of the second side while the first takes 2 ms.
    sides = iter([[2 * MS], [4 * MS], [1 * MS], [1 * MS, 4 * MS], [2 * MS]])

    def unfair(call: object, again: object, **keywords: Any) -> Comparison:
        other = time.taking(cycle(next(sides)))
        return compare(time.costing(2 * MS), other, effort=Effort(max_rounds=12))

    monkeypatch.setattr(clock, "compare", unfair)
    found = self_test(lambda: None, comparisons=5)
    assert (found.false_verdicts, found.unresolved, found.rate) == (2, 1, 0.4)
    assert found.widest > 1


def test_a_self_test_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidValue, match="got 0"):
        self_test(lambda: None, comparisons=0)
