"""TinyTorch beside its peers: `python benchmarks [names ...] [--quick] [--peers A,B]`.

A name is a group (`--list` names them), a part of a case's name ("matmul 512", "softmax"), or
`house`: the bars without peers. Each peer runs in a process of its own; its output is verified
before it is timed; peers take turns, and are stopped between them. Results are kept as they come.

A run of everything ends within --minutes, on a slow machine too: quick cases are measured first,
then a part of every group, and what is left out is said. What is named is measured whole.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import math
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cases
import house
import page
import results
import steps
from case import Case, Chosen, Group, wanted
from peers import OURS, PEERS
from process import Setting
from results import Held
from steps import Step
from turns import FULL, QUICK, Outcome, Result, Turns

from tinytorch.cli.console import say, warn
from tinytorch.measure.units import figures, ratio_text, seconds_text
from tinytorch.native import threads


def _speed(case: Case, group: Group, result: Result, seconds: float) -> str:
    amount = case.flops if group.unit == "GFLOP/s" else result.bytes_moved
    return f"{figures(amount / seconds / 1e9)} {group.unit}"


def _line(name: str, outcome: Outcome, case: Case, group: Group, result: Result) -> str:
    if not outcome.seconds:
        return f"  {name:14} {outcome.status}: {outcome.reason}"
    both = OURS in result.timed() and name != OURS
    beside = ratio_text(results.ratio(result, name)) if both else ""
    remarks = ", ".join(filter(None, (outcome.note, "" if outcome.preallocated else "allocates")))
    speed = _speed(case, group, result, outcome.median)
    return f"  {name:14} {seconds_text(outcome.median):>9} {speed:>14}  {beside:28} {remarks}"


def _show(case: Case, group: Group, result: Result) -> None:
    """Print a case: each peer's time and speed, and how many times faster we are."""
    say("", f"{group.name}: {case.name}  (stopped: {result.stopped or 'not timed'})")
    timed = sorted(result.timed().items(), key=lambda pair: pair[1].median)
    rest = [pair for pair in result.outcomes.items() if not pair[1].seconds]
    say(*(_line(name, outcome, case, group, result) for name, outcome in (*timed, *rest)))


def _verdict(held: Held) -> str:
    word = {True: "held  ", False: "MISSED", None: "open  "}[held.held]
    return f"{word} {held.group} {held.case}: {held.measured} ({held.says})"


class Session:
    """One run: what was measured so far, kept in its file after each step."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self._asked = asked
        self._measured: dict[str, Result] = {}
        self._groups: dict[str, dict[str, Any]] = {}
        self._house: list[Held] = []
        self.left_out: dict[str, int] = {}
        self.interrupted = False

    def _in_order(self) -> list[dict[str, Any]]:
        return sorted(self._groups.values(), key=lambda group: group["order"])

    def _keep(self) -> None:
        asked = self._asked
        data = results.whole(self._in_order(), self._house, asked.quick, asked.threads)
        results.write(data, asked.json)

    def _hold(self, turns: Turns, group: Group, case: Case) -> None:
        only = {OURS, *self._asked.peers.split(",")} if self._asked.peers else set(PEERS)
        result = turns.hold(case, [p for p in group.peers if p in only])
        _show(case, group, result)
        self._measured[case.name] = result
        found = [(c, self._measured[c.name]) for c in group.cases if c.name in self._measured]
        self._groups[group.name] = results.group_data(group, found)
        self._keep()
        if result.stopped == "interrupted":
            raise KeyboardInterrupt

    def _without_peers(self, part: Callable[[], Iterator[Held]]) -> None:
        for held in part():
            self._house.append(held)
            say(_verdict(held))
            self._keep()

    def _steps(
        self, turns: Turns, setting: Setting, chosen: Chosen, with_house: bool
    ) -> list[Step]:
        parts = [
            [Step(g.name, functools.partial(self._hold, turns, g, c), c.quick) for c in some]
            for g, some in chosen
        ]
        alone = house.parts(self._asked.quick, setting) if with_house else ()
        parts.append([Step(house.NAME, functools.partial(self._without_peers, p)) for p in alone])
        return steps.evenly(parts) if self._asked.minutes else list(itertools.chain(*parts))

    def run(self, chosen: Chosen, with_house: bool) -> None:
        """Measure; Ctrl-C ends it and what was measured stays."""
        with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
            setting = Setting(self._asked.threads, Path(folder), self._asked.peers_python)
            turns = Turns(setting, QUICK if self._asked.quick else FULL)
            try:
                to_do = self._steps(turns, setting, chosen, with_house)
                self.left_out = steps.run(to_do, 60 * self._asked.minutes or math.inf)
            except KeyboardInterrupt:
                self.interrupted = True
            finally:
                turns.close()

    def bars(self) -> Iterator[Held]:
        """Yield every bar with what was measured."""
        for group in self._in_order():
            yield from (Held(**bar) for bar in group["bars"])
        yield from self._house

    def wrong(self) -> bool:
        """Say whether one of our own outputs was wrong."""
        every = (result.outcomes.get(OURS) for result in self._measured.values())
        return any(ours and ours.status != "ok" for ours in every)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", help="what to measure (default: everything)")
    parser.add_argument("--quick", action="store_true", help="few cases, short: 2 minutes")
    parser.add_argument("--peers", help="only these beside us, as in NumPy,PyTorch")
    parser.add_argument("--threads", type=int, default=threads.usable_cpus())
    parser.add_argument("--peers-python", default=sys.executable, help="Python that has the peers")
    limit = "of a run of everything: 15 unless said, 2 if quick; 0: all that it takes"
    parser.add_argument("--minutes", type=float, help=limit)
    parser.add_argument("--json", type=Path, default=Path("reports/benchmarks.json"))
    parser.add_argument("--publish", action="store_true", help="show this on docs/benchmarks.md")
    parser.add_argument("--list", action="store_true", help="name groups, cases and peers")
    asked = parser.parse_args()
    unknown = [p for p in (asked.peers or "").split(",") if p and p not in PEERS]
    if unknown:
        parser.error(f"no peer {unknown[0]!r}: choose from {', '.join(PEERS)}")
    if not 1 <= asked.threads <= threads.usable_cpus():
        parser.error(f"--threads must be 1 to {threads.usable_cpus()}, got {asked.threads}")
    if asked.minutes is None:
        asked.minutes = 0 if asked.names or asked.publish else 2 if asked.quick else 15
    if asked.minutes < 0:
        parser.error(f"--minutes must not be negative, got {asked.minutes:g}")
    if asked.minutes and asked.publish:
        parser.error("--publish takes whole groups, however long they take: leave --minutes out")
    return asked


def _list(chosen: Chosen) -> None:
    for group, some in chosen:
        say(f"{group.name}: {group.title}; beside {', '.join(group.peers[1:])}")
        say(*(f"  {case.name}{' (quick)' if case.quick else ''}" for case in some))
    say(f"{house.NAME}: bars without peers")


def main() -> int:
    """Run what was asked for; 1 if a bar was missed or our output wrong, 2 on bad usage."""
    asked = _arguments()
    chosen = wanted(cases.groups(), asked.names, asked.quick)
    with_house = not asked.names or house.NAME in asked.names
    if not chosen and not with_house:
        warn(f"nothing is called {' '.join(asked.names)!r}: see --list")
        return 2
    if asked.list:
        _list(chosen)
        return 0
    # Told to end, end the peers' processes too: they are stopped, and would stay.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    session = Session(asked)
    session.run(chosen, with_house)
    bars = list(session.bars())
    say("", *map(_verdict, bars), f"the data are in {asked.json}")
    if session.left_out:
        parts = ", ".join(f"{count} of {part}" for part, count in session.left_out.items())
        warn(f"{asked.minutes:g} minutes were too short for: {parts}; --minutes 0 measures all")
    if session.interrupted:
        warn("interrupted: what was measured until then is kept")
        return 130
    if asked.publish:
        page.publish(results.read(asked.json))
        say("published: `make docs` writes the page")
    return int(session.wrong() or any(bar.held is False for bar in bars))


if __name__ == "__main__":
    sys.exit(main())
