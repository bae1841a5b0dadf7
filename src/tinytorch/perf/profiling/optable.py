"""The table of ops: what was dispatched, added up by op, kernel and shapes."""

from __future__ import annotations

import collections
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from tinytorch.backends.builtin import NULL
from tinytorch.backends.recording import OpCall, recording
from tinytorch.measure.ceilings import Ceilings
from tinytorch.measure.roofs import roof_for
from tinytorch.ops.spec import Cost

_NULL_CALLS, _NULL_ROUNDS = 20, 7


@dataclass
class OpRow:
    """All calls of one op, kernel, dtype and shapes."""

    first: OpCall
    calls: int = 0
    seconds: float = 0.0
    dispatch_seconds: float | None = None
    least_seconds: float | None = None
    cost: Cost = field(default_factory=lambda: Cost(0, 0))

    @property
    def flops(self) -> int:
        """FLOPs of all calls."""
        return self.cost.flops * self.calls

    @property
    def bytes_moved(self) -> int:
        """Compulsory bytes of all calls."""
        return self.cost.bytes_moved * self.calls

    @property
    def fraction(self) -> float | None:
        """The share of what the roof allows; None where the dtype has no measured peak."""
        return None if self.least_seconds is None else self.least_seconds / self.seconds

    @property
    def overhead(self) -> float | None:
        """The share of its time that dispatch takes by itself; None where it was not measured."""
        if self.dispatch_seconds is None:
            return None
        return min(1.0, self.calls * self.dispatch_seconds / self.seconds)

    @property
    def shapes_text(self) -> str:
        """The shapes as the commands take them: 64x128:128x32."""
        return ":".join("x".join(map(str, shape)) or "scalar" for shape in self.first.shapes)


def op_rows(calls: Iterable[OpCall]) -> list[OpRow]:
    """Return a row for each op, kernel, dtype, shapes and params, the most seconds first."""
    rows: dict[tuple[object, ...], OpRow] = {}
    for call in calls:
        params = tuple(sorted(call.params.items()))
        key = (call.op, call.kernel, call.dtype, call.shapes, params)
        row = rows.setdefault(key, OpRow(call, cost=call.cost))
        row.calls += 1
        row.seconds += call.seconds
    return sorted(rows.values(), key=lambda row: -row.seconds)


def place(rows: Iterable[OpRow], ceilings: Ceilings) -> None:
    """Set each row's least possible seconds, by the roof over what one call moves."""
    for row in rows:
        roof = roof_for(ceilings, row.first.dtype, row.cost.bytes_moved)
        if roof is not None:
            each = max(
                row.cost.flops / roof.peak_flops_per_s, row.cost.bytes_moved / roof.bytes_per_s
            )
            row.least_seconds = each * row.calls


def measure_dispatch(rows: Iterable[OpRow], most: int = 20) -> None:
    """Set what a dispatch of each row costs without its kernel, by the backend that computes none.

    Of the first `most` rows: their inputs are made anew, uninitialised.
    """
    for row in list(rows)[:most]:
        arrays = [np.empty(shape, row.first.dtype) for shape in row.first.shapes]
        rounds = []
        for _ in range(_NULL_ROUNDS):
            start = time.perf_counter()
            for _ in range(_NULL_CALLS):
                NULL.dispatch(row.first.op, *arrays, **row.first.params)
            rounds.append((time.perf_counter() - start) / _NULL_CALLS)
        row.dispatch_seconds = min(rounds)


def recording_cost() -> float:
    """Return the seconds that recording adds to a call, measured now."""
    x = np.ones(8, np.float32)

    def each() -> float:
        start = time.perf_counter()
        for _ in range(200):
            NULL.dispatch("relu", x)
        return (time.perf_counter() - start) / 200

    each()
    plain, watched = [], []
    for _ in range(7):
        plain.append(each())
        with recording():
            watched.append(each())
    return max(0.0, statistics.median(watched) - statistics.median(plain))


def busy_seconds(calls: Iterable[OpCall]) -> float:
    """Return the seconds of the thread that spent the most of them inside ops."""
    spent: dict[int, float] = collections.defaultdict(float)
    for call in calls:
        spent[call.thread] += call.seconds
    return max(spent.values(), default=0.0)
