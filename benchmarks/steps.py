"""A run's steps: in which order they are done, and which are left out for want of time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One thing to measure, as one part of a run has it: a group's case, or a bar without peers."""

    part: str
    do: Callable[[], None]
    quick: bool = False


def evenly(parts: Sequence[Sequence[Step]]) -> list[Step]:
    """Return all steps, the quick ones first, and so that all parts are as far at any time."""
    placed = []
    for part in parts:
        ordered = sorted(part, key=lambda step: not step.quick)
        placed += [((not s.quick, i / len(ordered)), s) for i, s in enumerate(ordered, start=1)]
    return [step for _, step in sorted(placed, key=lambda pair: pair[0])]


def run(steps: Sequence[Step], seconds: float) -> Counter[str]:
    """Do the steps within `seconds` (inf: all of them); return how many of each part were not.

    A step is not begun where one of twice the longest of its part, or of all if its part has had
    none, would end too late; a shorter one of another part still may be.
    """
    begin = time.perf_counter()
    longest: dict[str, float] = {}
    left_out: Counter[str] = Counter()
    for step in steps:
        start = time.perf_counter()
        expected = longest.get(step.part, max(longest.values(), default=0.0))
        if start + 2 * expected - begin > seconds:
            left_out[step.part] += 1
            continue
        step.do()
        taken = time.perf_counter() - start
        longest[step.part] = max(taken, longest.get(step.part, 0.0))
    return left_out
