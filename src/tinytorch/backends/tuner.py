"""The tuner: verify every candidate, race those that are near, keep the default unless beaten."""

from __future__ import annotations

import datetime
import functools
import time
import warnings
from collections.abc import Callable
from typing import Any, Protocol

from tinytorch import ops
from tinytorch.backends.builtin import NUMPY
from tinytorch.backends.tuning import Entry, Table, key_for
from tinytorch.errors import MeasurementError
from tinytorch.kernels import registry
from tinytorch.kernels.registry import Kernel
from tinytorch.measure.clock import Effort, race
from tinytorch.measure.stats import ratio_interval
from tinytorch.ops.spec import Array, Op, Params
from tinytorch.ops.verify import run_checked

EFFORT = Effort(seconds=0.6, relative_width=0.03, min_rounds=9)
# A kernel this many times slower than the fastest in a first look has lost.
HOPELESS = 2.0


class Tunable(Protocol):
    """What the tuner needs of a backend: its untuned choice, its table, and its memory."""

    @property
    def table(self) -> Table:
        """Where decisions are kept."""

    def default(self, op: str, arrays: tuple[Array, ...], params: Params) -> Kernel:
        """Return what is used where nothing was tuned."""

    def forget(self) -> None:
        """Choose anew from the next call on."""


def candidates(op: str, arrays: tuple[Array, ...]) -> list[Kernel]:
    """Return the rungs that take these inputs, but for interpreted ones where others do."""
    takes = [rung for rung in registry.ladder(op) if rung.refuses(arrays) is None]
    return [rung for rung in takes if not rung.interpreted] or takes


def _glance(call: Callable[[], Any]) -> float:
    """Return the least seconds of a few calls, after one that may compile."""
    call()
    deadline = time.perf_counter() + 0.02
    best = float("inf")
    while time.perf_counter() < deadline or best == float("inf"):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def tune_call(auto: Tunable, op: str, arrays: tuple[Array, ...], params: Params) -> Entry:
    """Decide for one call's bucket, store the decision, and return it.

    A kernel replaces the default only when the interval of the paired ratio proves it faster, so
    a tuned choice can't lose to the untuned one by bad luck in one measurement. Raises
    MeasurementError where no candidate gives a right answer.
    """
    described = ops.get(op)
    default = auto.default(op, arrays, params)
    calls = _verified_calls(described, arrays, params)
    if default.name not in calls:
        raise MeasurementError(
            f"the default kernel {op}/{default.name} fails verification on these inputs: "
            f"run `tito doctor`"
        )
    glances = {name: _glance(call) for name, call in calls.items()}
    near = [n for n, s in glances.items() if s <= HOPELESS * min(glances.values())]
    numpy_rung = NUMPY.choose(op, arrays, params).name
    racing = dict.fromkeys([default.name, *near, *({numpy_rung} & set(calls))])
    taken = race({name: calls[name] for name in racing}, effort=EFFORT)
    base = taken[default.name].seconds
    ratios = {n: ratio_interval(base, m.seconds) for n, m in taken.items()}
    proven = [n for n, ratio in ratios.items() if ratio.low > 1]
    chosen = max(proven, key=lambda n: ratios[n].median, default=default.name)
    over_numpy = None
    if numpy_rung in taken:
        ratio = ratio_interval(taken[numpy_rung].seconds, taken[chosen].seconds)
        over_numpy = (ratio.low, ratio.median, ratio.high)
    entry = Entry(
        key=key_for(op, arrays, params),
        kernel=chosen,
        default=default.name,
        seconds={**glances, **{n: m.median for n, m in taken.items()}},
        ratio_low=ratios[chosen].low,
        ratio_median=ratios[chosen].median,
        ratio_high=ratios[chosen].high,
        shapes=tuple(array.shape for array in arrays),
        over_numpy=over_numpy,
        tuned_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    auto.table.put(entry)
    auto.forget()
    return entry


def _verified_calls(
    op: Op, arrays: tuple[Array, ...], params: Params
) -> dict[str, Callable[[], Any]]:
    calls: dict[str, Callable[[], Any]] = {}
    for rung in candidates(op.name, arrays):
        check = run_checked(op, rung.function, arrays, params)
        if check.ok:
            calls[rung.name] = functools.partial(rung.function, *arrays, **params)
        else:
            warnings.warn(
                f"{op.name}/{rung.name} is wrong on these inputs and is left out of tuning: "
                f"{check.reason}",
                RuntimeWarning,
                stacklevel=3,
            )
    return calls
