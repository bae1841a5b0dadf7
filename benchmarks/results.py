"""Results as plain data: what was measured, by which machine, and which bars were held."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from case import Bar, Case, Group
from peers import OURS, PEERS
from turns import Result, paired

from tinytorch.errors import InvalidValue
from tinytorch.files import write_whole
from tinytorch.measure import machine
from tinytorch.measure.sample import Environment
from tinytorch.measure.units import figures, ratio_text

SCHEMA = "tinytorch.benchmarks/1"
Measured = Sequence[tuple[Case, Result]]


@dataclass(frozen=True)
class Held:
    """A bar after measuring: what it says, what was measured, and whether it was held.

    held is None where nothing could be measured against it; out_of_reach: the floor's own time
    would not hold it.
    """

    group: str
    case: str
    says: str
    measured: str
    held: bool | None
    out_of_reach: bool = False


def rivals(result: Result, names: Sequence[str] = ()) -> list[str]:
    """Return the timed peers among `names`, or all that are rivals, the fastest first."""
    timed = result.timed()
    chosen = names or [n for n in timed if n != OURS and not PEERS[n].yardstick]
    return sorted((n for n in chosen if n in timed), key=lambda n: timed[n].median)


def ratio(result: Result, rival: str) -> Any:
    """Return how many times faster we are than a rival, with its interval."""
    timed = result.timed()
    return paired(timed[rival].seconds, timed[OURS].seconds)


def _at_floor(group: Group, result: Result, rival: str) -> float:
    """Return what the ratio to a rival would be in the floor's time; inf where it is not known."""
    timed = result.timed()
    parts = [[timed[n].median for n in names if n in timed] for names in group.floor]
    if not parts or not all(parts):
        return math.inf
    return timed[rival].median / max(map(min, parts))


def _geometric_mean(ratios: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def _on_each(group: Group, bar: Bar, measured: Measured) -> list[Held]:
    held = []
    for case, result in measured:
        best = rivals(result, bar.rivals)[:1] if OURS in result.timed() else []
        if best:
            found = ratio(result, best[0])
            text = f"{ratio_text(found)} against {best[0]}"
            kept = found.median >= bar.at_least
            beyond = not kept and _at_floor(group, result, best[0]) < bar.at_least
            held.append(Held(group.name, case.name, text_of(bar), text, kept, beyond))
        else:
            held.append(Held(group.name, case.name, text_of(bar), "not measured", None))
    return held


def _mean(group: Group, bar: Bar, measured: Measured) -> list[Held]:
    found, limits = [], []
    for _, result in measured:
        best = rivals(result, bar.rivals)[:1] if OURS in result.timed() else []
        found += [ratio(result, best[0]).median] if best else []
        limits += [_at_floor(group, result, best[0])] if best else []
    if not found:
        return [Held(group.name, "", text_of(bar), "not measured", None)]
    mean = _geometric_mean(found)
    due = len(bar.only or group.cases)
    if len(found) < due:  # a mean of some is no mean of all
        text = f"{figures(mean)}x over {len(found)} of {due} cases"
        return [Held(group.name, "", text_of(bar), text, None)]
    kept = mean >= bar.at_least
    beyond = not kept and _geometric_mean(limits) < bar.at_least
    return [Held(group.name, "", text_of(bar), f"{figures(mean)}x", kept, beyond)]


def text_of(bar: Bar) -> str:
    """Return a bar as a table shows it."""
    return f">= {figures(bar.at_least)}x {bar.says}"


def bars(group: Group, measured: Measured) -> list[Held]:
    """Hold what was measured against the group's bars."""
    held: list[Held] = []
    for bar in group.bars if measured else ():
        about = [(c, r) for c, r in measured if not bar.only or c.name in bar.only]
        if about:
            held += (_on_each if bar.each else _mean)(group, bar, about)
    return held


def _rounded(seconds: float) -> float:
    return float(f"{seconds:.5g}")


def case_data(case: Case, result: Result) -> dict[str, Any]:
    """Return a case and what became of each peer, as plain data."""
    peers = {}
    for name, outcome in result.outcomes.items():
        peers[name] = {**asdict(outcome), "seconds": list(map(_rounded, outcome.seconds))}
    return {
        "name": case.name,
        "kind": case.kind,
        "params": dict(case.params),
        "flops": case.flops,
        "bytes": result.bytes_moved,
        "stopped": result.stopped,
        "peers": peers,
    }


def group_data(group: Group, measured: Measured) -> dict[str, Any]:
    """Return a group's cases and bars as plain data."""
    return {
        "name": group.name,
        "title": group.title,
        "unit": group.unit,
        "whole": len(group.cases),
        "order": group.order,
        "floor": [list(names) for names in group.floor],
        "cases": [case_data(case, result) for case, result in measured],
        "bars": [asdict(held) for held in bars(group, measured)],
    }


def whole(
    groups: Sequence[Mapping[str, Any]], house: Sequence[Held], quick: bool, threads: int
) -> dict[str, Any]:
    """Return everything, with the machine and the moment; `house` are the bars without peers."""
    return {
        "schema": SCHEMA,
        "taken_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "threads": threads,
        "environment": asdict(Environment.now()),
        "machine": machine.detect().to_dict(),
        "groups": list(groups),
        "house": [asdict(held) for held in house],
    }


def write(data: Mapping[str, Any], path: Path) -> Path:
    """Write results whole or not at all."""
    return write_whole(path, json.dumps(data, indent=1) + "\n")


def read(path: Path) -> dict[str, Any]:
    """Read results; another schema is refused."""
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if data.get("schema") != SCHEMA:
        raise InvalidValue(
            f"{path.name} must hold results of schema {SCHEMA!r}, got {data.get('schema')!r}: "
            "run `make bench` again"
        )
    return data
