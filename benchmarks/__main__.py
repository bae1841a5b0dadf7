"""TinyTorch beside its peers: `python benchmarks [names ...] [--quick] [--peers A,B] [--json FILE]`.

A name is a group (fused, square, small, linear, attention, int8, conv, sparse) or a part of a
case's name ("matmul 512", "softmax"). Each peer runs in a process of its own; its output is verified
before it is timed; peers take turns. `--list` names what there is.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cases
import results
from case import Case, Group
from peers import OURS, PEERS
from process import Setting
from turns import FULL, QUICK, Result, Turns

from tinytorch.cli.console import say, warn
from tinytorch.measure.units import figures, ratio_text, seconds_text
from tinytorch.native import threads


def _wanted(groups: Sequence[Group], names: Sequence[str], quick: bool) -> list[tuple[Group, list[Case]]]:
    """Return the groups with the cases that were asked for; a quick run takes the quick ones.

    A case asked for by its own name is taken either way.
    """
    chosen = []
    for group in groups:
        some = [c for c in group.cases if c.quick or not quick]
        if names and group.name not in names:
            some = [c for c in group.cases if any(n in c.name for n in names)]
        if some:
            chosen.append((group, some))
    return chosen


def _speed(case: Case, group: Group, result: Result, seconds: float) -> str:
    amount = case.flops if group.unit == "GFLOP/s" else result.bytes_moved
    return f"{figures(amount / seconds / 1e9)} {group.unit}"


def _show(case: Case, group: Group, result: Result) -> None:
    """Print a case: each peer's time and speed, and how many times faster we are."""
    say(f"\n{case.name}  ({result.stopped or 'not timed'})")
    timed = result.timed()
    for name, outcome in sorted(
        result.outcomes.items(), key=lambda pair: pair[1].median if pair[1].seconds else 1e9
    ):
        if name not in timed:
            say(f"  {name:14} {outcome.status}: {outcome.reason}")
            continue
        beside = ratio_text(results.ratio(result, name)) if OURS in timed and name != OURS else ""
        remarks = [outcome.note, "" if outcome.preallocated else "allocates"]
        say(
            f"  {name:14} {seconds_text(outcome.median):>9} "
            f"{_speed(case, group, result, outcome.median):>14}  {beside:28} "
            f"{', '.join(filter(None, remarks))}"
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", help="groups, or parts of cases' names (default: all)")
    parser.add_argument("--quick", action="store_true", help="few cases, short: 2 minutes")
    parser.add_argument("--peers", help="only these, beside us: NumPy,PyTorch")
    parser.add_argument("--threads", type=int, default=threads.usable_cpus())
    parser.add_argument("--peers-python", default=sys.executable, help="Python that has the peers")
    parser.add_argument("--json", type=Path, default=Path("reports/benchmarks.json"))
    parser.add_argument("--list", action="store_true", help="name the groups, cases and peers")
    asked = parser.parse_args()
    unknown = [p for p in (asked.peers or "").split(",") if p and p not in PEERS]
    if unknown:
        parser.error(f"no peer {unknown[0]!r}: choose from {', '.join(PEERS)}")
    return asked


def _list(chosen: Sequence[tuple[Group, list[Case]]]) -> None:
    for group, some in chosen:
        say(f"{group.name}: {group.title}; {', '.join(group.peers)}")
        for case in some:
            say(f"  {case.name}{' (quick)' if case.quick else ''}")


def _run(asked: argparse.Namespace, chosen: Sequence[tuple[Group, list[Case]]]) -> list[Any]:
    """Hold the cases, showing and keeping each as soon as it is done."""
    kept: list[Any] = []
    only = {OURS, *asked.peers.split(",")} if asked.peers else set(PEERS)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        setting = Setting(asked.threads, Path(folder), asked.peers_python)
        turns = Turns(setting, QUICK if asked.quick else FULL)
        try:
            for group, some in chosen:
                measured: list[tuple[Case, Result]] = []
                kept.append(None)
                for case in some:
                    result = turns.hold(case, [p for p in group.peers if p in only])
                    measured.append((case, result))
                    _show(case, group, result)
                    kept[-1] = results.group_data(group, measured)
                    results.write(results.whole(kept, asked.quick, asked.threads), asked.json)
                    if result.stopped == "interrupted":
                        raise KeyboardInterrupt
        except KeyboardInterrupt:
            warn("interrupted: what was measured is kept")
        finally:
            turns.close()
    return [group for group in kept if group]


def main() -> int:
    """Run the cases asked for; 1 if a bar was missed or an output wrong, 2 on bad usage."""
    asked = _arguments()
    chosen = _wanted(cases.groups(), asked.names, asked.quick)
    if not chosen:
        warn(f"nothing is called {' '.join(asked.names)!r}: see --list")
        return 2
    if asked.list:
        _list(chosen)
        return 0
    kept = _run(asked, chosen)
    missed = 0
    say("")
    for group in kept:
        for bar in group["bars"]:
            word = {True: "held  ", False: "MISSED", None: "absent"}[bar["held"]]
            missed += bar["held"] is False
            say(f"{word} {bar['group']} {bar['case']}: {bar['measured']} ({bar['says']})")
    say(f"the data are in {asked.json}")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
