"""docs/benchmarks.md, written from results: tables, charts, bars, and the machine.

The results that the page shows are kept beside this file, in results/, a file a kind of machine, so
that the page can be made, and checked, without measuring. The kind of which most is known is shown
case by case, and the others by their bars.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import results
from notes import NOTES
from peers import OURS, PEERS

from tinytorch.errors import InvalidValue
from tinytorch.measure import charts
from tinytorch.measure.report import write_png
from tinytorch.measure.stats import median_interval
from tinytorch.measure.units import bytes_text, figures, ratio_text, seconds_text

KEPT = Path(__file__).parent / "results"
CHARTS = Path(__file__).parent.parent / "docs" / "charts"
Data = Mapping[str, Any]


def _kept() -> list[Data]:
    """Return what is kept of each kind of machine, the one of which most is known first."""
    found = [results.read(path) for path in sorted(KEPT.glob("*.json"))]
    return sorted(found, key=lambda data: (len(data["groups"]), data["taken_at"]), reverse=True)


def _place(data: Data) -> Path:
    """Return where the results of a kind of machine are kept."""
    seen = data["machine"]
    return KEPT / f"{seen['llvm_cpu']}-{seen['isa']}-{data['threads']}.json"


def _cells(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(c.replace('|', chr(92) + '|') for c in li)} |" for li in lines)


def _timed(case: Data) -> dict[str, float]:
    """Return each timed peer's median seconds, the fastest first."""
    peers = {n: p["seconds"] for n, p in case["peers"].items() if p["status"] == "ok"}
    medians = {n: median_interval(s).median for n, s in peers.items() if s}
    return dict(sorted(medians.items(), key=lambda pair: pair[1]))


def _rivals(case: Data) -> list[str]:
    return [n for n in _timed(case) if n != OURS and not PEERS[n].yardstick]


def _versus(case: Data) -> tuple[str, str, float]:
    """Return the best peer, the ratio to it as text, and its median."""
    rivals = _rivals(case)
    if not rivals or OURS not in _timed(case):
        return "-", "-", math.nan
    peers = case["peers"]
    found = results.paired(peers[rivals[0]]["seconds"], peers[OURS]["seconds"])
    return rivals[0], ratio_text(found), found.median


def _cell(case: Data, name: str) -> str:
    peer = case["peers"].get(name)
    if peer is None:
        return "-"
    timed = _timed(case)
    if name not in timed:
        return peer["status"]
    return seconds_text(timed[name]) + ("" if peer["preallocated"] else " (a)")


def _verdict(group: Data, case: Data) -> str:
    """Return `held` or `missed`, of all bars on the case."""
    told = [b["held"] for b in group["bars"] if b["case"] == case["name"]]
    told = [t for t in told if t is not None]
    return ("held" if all(told) else "**missed**") if told else "-"


def _floor(group: Data, case: Data) -> float:
    """Return the seconds that no call of a case can be faster than; NaN where none are known."""
    timed = _timed(case)
    parts = [[timed[n] for n in names if n in timed] for names in group.get("floor", ())]
    return max(map(min, parts)) if parts and all(parts) else math.nan


def _above_floor(group: Data, case: Data, name: str) -> float:
    """Return how many times a case's floor a peer takes; NaN where one of them is not known."""
    return _timed(case).get(name, math.nan) / _floor(group, case)


def _mean(ratios: Iterable[float]) -> float:
    logs = [math.log(r) for r in ratios if not math.isnan(r)]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def _floor_of(group: Data) -> Iterator[str]:
    """Say what the floor leaves to be gained."""
    cases = [case for case in group["cases"] if _rivals(case)]
    theirs = _mean(_above_floor(group, case, _rivals(case)[0]) for case in cases)
    if not math.isnan(theirs):
        ours = _mean(_above_floor(group, case, OURS) for case in cases)
        names = ", or ".join(" or ".join(part) for part in group["floor"])
        names += ", whichever takes longer" if len(group["floor"]) > 1 else ""
        yield (
            f"- floor ({names}): the best peer takes {figures(theirs)} "
            f"times as long, ours {figures(ours)} times (geometric means)"
        )


def _speed(group: Data, case: Data) -> str:
    seconds = _timed(case).get(OURS)
    if not seconds:
        return "-"
    amount = case["flops"] if group["unit"] == "GFLOP/s" else case["bytes"]
    return f"{figures(amount / seconds / 1e9)} {group['unit']}"


def _group_table(group: Data) -> str:
    names = list(dict.fromkeys(n for case in group["cases"] for n in case["peers"]))
    others = [n for n in names if n != OURS]
    columns = ["case", "ours", "", *others, "best peer / ours", "bar"]
    columns[-1:-1] = ["best peer / floor"] if group.get("floor") else []
    rows = []
    for case in group["cases"]:
        best, ratio, _ = _versus(case)
        row = [case["name"], _cell(case, OURS), _speed(group, case)]
        row += [_cell(case, n) for n in others]
        row += [ratio if best == "-" else f"{ratio}, {best}"]
        if group.get("floor"):
            above = _above_floor(group, case, best)
            row.append("-" if math.isnan(above) else f"{figures(above)}x")
        rows.append([*row, _verdict(group, case)])
    return _cells(columns, rows)


def _reasons(group: Data) -> Iterator[str]:
    """Say why a peer is not in a row, a sentence for each reason."""
    why: dict[tuple[str, str], list[str]] = {}
    for case in group["cases"]:
        for name, peer in case["peers"].items():
            if peer["status"] != "ok":
                reason = f"{peer['status']}: {peer['reason']}"
                why.setdefault((name, reason), []).append(case["name"])
    for (name, reason), cases in why.items():
        where = "all" if len(cases) == len(group["cases"]) else ", ".join(cases)
        yield f"- {name}, {where}: {reason}"


def _how(group: Data) -> Iterator[str]:
    """Say how a peer was asked, where it has something to say."""
    notes: dict[str, list[str]] = {}
    for case in group["cases"]:
        for name, peer in case["peers"].items():
            if peer["note"]:
                notes.setdefault(name, []).append(peer["note"])
    for name, told in notes.items():
        yield f"- {name}: {'; '.join(dict.fromkeys(told))}"


def _bars_of(group: Data) -> Iterator[str]:
    """Count, for each bar, the cases that held it."""
    for says in dict.fromkeys(bar["says"] for bar in group["bars"]):
        told = [bar for bar in group["bars"] if bar["says"] == says]
        beyond = sum(bar.get("out_of_reach", False) for bar in told)
        if not told[0]["case"]:
            word = {True: "held", False: "**missed**", None: "open"}[told[0]["held"]]
            limit = ", and out of reach: the floor's time would miss it too" if beyond else ""
            yield f"- {says}: {told[0]['measured']}, {word}{limit}"
            continue
        held = sum(bar["held"] is True for bar in told)
        known = sum(bar["held"] is not None for bar in told)
        limit = f", {beyond} out of reach: the floor's time would miss them too" if beyond else ""
        count = f"held by {held} of {known} cases"
        told_as = count if held == known else f"**missed**, {count}"
        yield f"- {says}: {told_as}{limit}" if known else f"- {says}: open"


def _notes(group: Data) -> Iterator[str]:
    """Say what was written by hand about the group, and about those of its cases shown here."""
    shown = {"", *(case["name"] for case in group["cases"])}
    for case, text in NOTES.get(group["name"], {}).items():
        if case in shown:
            yield f"- {case}: {text}" if case else f"- {text}"


def chart_name(group: Data) -> str:
    """Return the file name of a group's chart."""
    return f"{group['name']}.png"


def groups() -> str:
    """Every group: its bars, chart, table, and what is said beside it."""
    kept = _kept()
    if not kept:
        return "Nothing was measured yet: `make bench PUBLISH=1` does."
    parts = []
    for group in kept[0]["groups"]:
        part = [f"### {group['title']}", "\n".join([*_bars_of(group), *_floor_of(group)])]
        if any(_rivals(case) for case in group["cases"]):
            part.append(f"![{group['title']}](charts/{chart_name(group)})")
        part.append(_group_table(group))
        said = [*_how(group), *_reasons(group), *_notes(group)]
        part += ["\n".join(said)] if said else []
        parts.append("\n\n".join(part))
    return "\n\n".join(parts)


def house() -> str:
    """The bars without peers, and what was written by hand about them."""
    rows = [bar["case"] for data in _kept()[:1] for bar in data["house"]]
    notes = NOTES.get("house", {}).items()
    said = [f"- {name}: {text}" for name, text in notes if any(name in row for row in rows)]
    table = "".join(_without_peers(data) for data in _kept()[:1])
    return "\n\n".join([table, "\n".join(said)] if said else [table])


def _without_peers(data: Data) -> str:
    words = {True: "held", False: "**missed**", None: "open"}
    rows = [(b["case"], b["says"], b["measured"], words[b["held"]]) for b in data["house"]]
    return _cells(("what", "bar", "measured", "verdict"), rows)


def machine() -> str:
    """What it was measured on, and with which versions."""
    return "".join(_machine_of(data) for data in _kept()[:1])


def _machine_of(data: Data) -> str:
    seen, when = data["machine"], data["taken_at"][:10]
    caches = (c for c in seen["caches"] if c["kind"] != "instruction")
    sizes = ", ".join(f"L{c['level']} {bytes_text(c['size_bytes'])}" for c in caches)
    versions = {}
    for group in data["groups"]:
        for case in group["cases"]:
            versions |= {n: p["version"] for n, p in case["peers"].items() if p["version"]}
    shown = ", ".join(f"{n} {v}" for n, v in versions.items() if not PEERS[n].yardstick)
    kind = "A quick run: few samples, and few of the cases." if data["quick"] else ""
    lines = [
        f"Measured on {when}, on {seen['cpu_model']} ({seen['llvm_cpu']}, vectors: {seen['isa']}; "
        f"{sizes}), with {data['threads']} threads, under {seen['os']}.",
        f"Versions: {shown}; Python {seen['versions']['python']}; NumPy's BLAS: "
        f"{data['environment']['blas']}.",
    ]
    return "\n\n".join([*lines, kind] if kind else lines)


def _summary_rows(data: Data) -> list[list[str]]:
    rows = []
    for group in data["groups"]:
        ratios = [r for *_, r in map(_versus, group["cases"]) if not math.isnan(r)]
        mean = _mean(ratios)
        told = [b["held"] for b in group["bars"]]
        rows.append(
            [
                group["title"],
                str(len(group["cases"])),
                f"{figures(mean)}x" if ratios else "-",
                f"{sum(r > 1 for r in ratios)} of {len(ratios)}",
                f"{told.count(True)} of {len(told) - told.count(None)}",
            ]
        )
    return rows


def _anchor(title: str) -> str:
    kept = "".join(c for c in title.lower() if c.isalnum() or c in "_- ")
    return kept.replace(" ", "-")


def summary() -> str:
    """A line a group: how many cases, and how many bars were held."""
    rows = [row for data in _kept()[:1] for row in _summary_rows(data)]
    return _summary_table([[f"[{title}](#{_anchor(title)})", *rest] for title, *rest in rows])


def _summary_table(rows: Sequence[Sequence[str]]) -> str:
    columns = ("cases", "how many", "best peer / ours, mean", "faster than all", "bars held")
    return _cells(columns, rows)


def others() -> str:
    """The other machines: a line a group, its bars, and each case beside its best peer."""
    parts = []
    for data in _kept()[1:]:
        seen = data["machine"]
        title = f"### {seen['cpu_model']} ({seen['llvm_cpu']}, {seen['isa']})"
        parts += [title, _machine_of(data), _summary_table(_summary_rows(data))]
        for group in data["groups"]:
            parts += [f"**{group['title']}**", "\n".join(_bars_of(group))]
            each = [(c["name"], _cell(c, OURS), *_versus(c)[:2]) for c in group["cases"]]
            parts.append(_cells(("case", "ours", "best peer", "best peer / ours"), each))
        parts += ["**Without peers**", _without_peers(data)] if data["house"] else []
    return "\n\n".join(parts) or "None yet: `make bench PUBLISH=1` on one puts it here."


def draw(data: Data) -> None:
    """Draw each group's chart."""
    for group in data["groups"]:
        rows = list(_ratios(group))
        if rows:
            title = "the peer's time / ours (right of the line we are faster)"
            write_png(charts.ratios(rows, title), CHARTS / chart_name(group), 1.5)


def _ratios(group: Data) -> Iterator[tuple[str, str, float]]:
    """Yield case, peer and how many times faster we are than it."""
    for case in group["cases"]:
        seconds = {n: p["seconds"] for n, p in case["peers"].items() if p["status"] == "ok"}
        if seconds.get(OURS):
            for name in _rivals(case):
                found = results.paired(seconds[name], seconds[OURS])
                yield case["name"], name, found.median


def publish(data: Data) -> None:
    """Keep results as those of this kind of machine, and draw the charts of the page.

    Groups that were not measured now stay as they were, if machine and threads are the same.
    Raises InvalidValue for a quick run, and for a group without some of its cases.
    """
    if data["quick"]:
        raise InvalidValue("a quick run is not published: run without --quick")
    part = [g["name"] for g in data["groups"] if len(g["cases"]) < g["whole"]]
    if part:
        raise InvalidValue(f"{part[0]} was measured in part: publish whole groups")
    place = _place(data)
    if place.exists():
        data = _merged(results.read(place), data)
    results.write(data, place)
    draw(_kept()[0])


def _merged(before: Data, now: Data) -> Data:
    same = all(before[k] == now[k] for k in ("threads", "quick")) and (
        before["environment"]["fingerprint"] == now["environment"]["fingerprint"]
    )
    if not same:
        return now
    groups = {g["name"]: g for g in (*before["groups"], *now["groups"])}
    order = sorted(groups.values(), key=lambda g: g["order"])
    return {**now, "groups": order, "house": now["house"] or before["house"]}
