"""What to do next: where the time is, what could be gained there at most, and which command shows.

Amdahl: if a share s of the time becomes f times as long (f below 1), the whole becomes
1 / (1 - s + s f) times as fast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinytorch import backends
from tinytorch.kernels import registry
from tinytorch.perf.profiling.lines import HotLine
from tinytorch.perf.profiling.optable import OpRow

_MOST = 3
# A gain of the whole program below this is not worth a line.
_LEAST_GAIN = 1.02


def amdahl(share: float, left: float) -> float:
    """Return how many times as fast the whole becomes if `share` of it takes `left` as long."""
    return 1 / (1 - share + share * left)


@dataclass(frozen=True)
class Step:
    """One thing to do: what was seen, the most that it can bring, and a command ("" for none)."""

    seen: str
    gain: float
    command: str


def _other_rungs(row: OpRow) -> list[str]:
    """Return the op's rungs that take these inputs, the best regarded first, without the used."""
    arrays = tuple(np.empty(shape, row.first.dtype) for shape in row.first.shapes)
    preferred: list[str] = []
    for name in ("native", "numpy"):
        for rung in backends.get(name).rungs(row.first.op):
            if rung.name not in (*preferred, row.first.kernel) and rung.refuses(arrays) is None:
                preferred.append(rung.name)
    return [name for name in preferred if name in registry.rung_names(row.first.op)]


def _for_op(row: OpRow, wall_seconds: float) -> Step | None:
    share = min(1.0, row.seconds / wall_seconds)
    fraction = row.fraction
    if fraction is None or fraction >= 1:
        return None
    gain = amdahl(share, fraction)
    op, kernel = row.first.op, row.first.kernel
    seen = (
        f"{op} ({kernel}, {row.shapes_text}) takes {share:.0%} of the time at {fraction:.0%} of "
        f"its roof: at the roof, the program would be {gain:.2f}x as fast"
    )
    others = _other_rungs(row)
    if row.overhead is not None and row.overhead > 0.5:
        return Step(
            f"{seen}; {row.overhead:.0%} of that is dispatch: fewer, larger calls bring more than "
            "another kernel",
            gain,
            "",
        )
    if not others:
        return Step(f"{seen}; no other kernel takes these inputs", gain, "")
    command = f"tito compare {op}/{kernel} {op}/{others[0]} --size {row.shapes_text}"
    dtype = f" --dtype {row.first.dtype}" if row.first.dtype != "float32" else ""
    return Step(f"{seen}; the next rung is {others[0]}", gain, command + dtype)


def _for_line(line: HotLine, wall_seconds: float) -> Step:
    share = min(0.999, line.seconds / wall_seconds)
    seen = (
        f"{Path(line.path).name}:{line.number} takes {share:.0%} of the time for {line.fusible} "
        "operations, each with an array of its own: with @fuse they become one loop (its gain is "
        "what `f.explain(x)` says)"
    )
    return Step(seen, amdahl(share, 0.0), "")


def _outside(wall_seconds: float, outside_seconds: float, lines_known: bool) -> Step:
    outside = min(1.0, outside_seconds / wall_seconds)
    command = "" if lines_known else "tito profile --lines (names the lines)"
    if outside > 0.999:
        return Step("all of the time is outside ops, in Python and NumPy", math.inf, command)
    gain = amdahl(outside, 0.0)
    seen = (
        f"{outside:.0%} of the time is outside ops, in Python and NumPy of the program: without "
        f"it, the program would be {gain:.2f}x as fast"
    )
    return Step(seen, gain, command)


def next_steps(
    rows: Sequence[OpRow],
    wall_seconds: float,
    outside_seconds: float,
    lines: Sequence[HotLine] = (),
) -> list[Step]:
    """Return what to do, the largest possible gain first; `lines` are those that were sampled."""
    steps = [step for row in rows[:_MOST] if (step := _for_op(row, wall_seconds))]
    steps += [_for_line(line, wall_seconds) for line in lines if line.fusible][:_MOST]
    steps.append(_outside(wall_seconds, outside_seconds, bool(lines)))
    worthwhile = [step for step in steps if step.gain >= _LEAST_GAIN]
    return sorted(worthwhile, key=lambda step: -step.gain)
