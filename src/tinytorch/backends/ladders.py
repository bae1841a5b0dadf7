"""Climbing a ladder: every rung of an op verified, then timed, each at a size that it can finish.

An interpreted rung can be ten thousand times slower than the top one. It runs at the largest size
that fits the effort, found by running growing sizes, and its row says which size that was. Speed-up
over naive is measured at naive's own size, in turns; nothing is carried over from size to size.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tinytorch import ops
from tinytorch.errors import InvalidValue
from tinytorch.kernels import registry
from tinytorch.kernels.outputs import aligned_empty
from tinytorch.kernels.registry import Kernel
from tinytorch.measure.clock import Effort, compare, race
from tinytorch.measure.memory import MemoryUse, measure_memory
from tinytorch.measure.roofline import Placement, Roof
from tinytorch.measure.sample import Measurement
from tinytorch.measure.stats import Interval
from tinytorch.ops.spec import Array, Op, Params, Shapes, Size
from tinytorch.ops.verify import Check, expected_dtype, run_checked

SCHEMA = "tinytorch.ladder/1"
# A size fits the effort when so many calls do: fewer give no 95 % interval.
CALLS = Effort().min_rounds

_NOT_RUN = Check(True, 0.0, "", "refused these inputs: not run")


@dataclass(frozen=True)
class LadderRow:
    """What one rung did. `measurement` is None where it refused the inputs or failed its check.

    `flops` and `bytes_moved` are the op's own at this size; the rates follow from the median.
    `speedup_over_naive` was measured at `speedup_size`; both are None on naive itself.
    """

    kernel: str
    idea: str
    size: str
    shapes: Shapes
    params: Params
    check: Check
    flops: int
    bytes_moved: int
    measurement: Measurement | None = None
    speedup_over_naive: Interval | None = None
    speedup_size: str | None = None
    allocations: MemoryUse | None = None
    refused: str | None = None

    @property
    def gflops_per_s(self) -> float | None:
        """1e9 FLOP per second, or None where nothing was timed."""
        return self.flops / self.measurement.median / 1e9 if self.measurement else None

    @property
    def gb_per_s(self) -> float | None:
        """1e9 bytes of compulsory traffic per second, or None where nothing was timed."""
        return self.bytes_moved / self.measurement.median / 1e9 if self.measurement else None

    def placement(self, roof: Roof) -> Placement:
        """Return where the rung stands under a roof; raises InvalidValue where it was not timed."""
        if self.measurement is None:
            raise InvalidValue(
                f"{self.kernel} was not timed ({self.refused or self.check.reason}), so it has no "
                "place under a roof"
            )
        return Placement(self.flops, self.bytes_moved, self.measurement.median, roof)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        worst = self.check.worst
        return {
            "kernel": self.kernel,
            "idea": self.idea,
            "size": self.size,
            "shapes": [list(shape) for shape in self.shapes],
            "params": dict(self.params),
            "refused": self.refused,
            "verified": self.refused is None and self.check.ok,
            "check": {**asdict(self.check), "worst": worst if math.isfinite(worst) else None},
            "flops": self.flops,
            "bytes_moved": self.bytes_moved,
            "gflops_per_s": self.gflops_per_s,
            "gb_per_s": self.gb_per_s,
            "measurement": _plain(self.measurement),
            "speedup_over_naive": _plain(self.speedup_over_naive),
            "speedup_size": self.speedup_size,
            "allocations": _plain(self.allocations),
        }


@dataclass(frozen=True)
class Ladder:
    """The rows of one op, bottom rung first. `interrupted`: Ctrl-C ended it early."""

    op: str
    dtype: str
    rows: tuple[LadderRow, ...]
    interrupted: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, with the schema's name."""
        return {
            "schema": SCHEMA,
            "op": self.op,
            "dtype": self.dtype,
            "interrupted": self.interrupted,
            "rows": [row.to_dict() for row in self.rows],
        }


def _plain(value: Measurement | Interval | MemoryUse | None) -> dict[str, Any] | None:
    return None if value is None else value.to_dict()


def _is_regular(size: Size) -> bool:
    return all(len(shape) <= 2 and len(set(shape)) <= 1 for shape in size.shapes)


def regular_sizes(op: Op) -> tuple[Size, ...]:
    """Return the ladder sizes whose arrays are vectors or square matrices, by growing FLOPs.

    All sizes, where an op has none of those.
    """
    chosen = tuple(filter(_is_regular, op.ladder)) or op.ladder
    return tuple(sorted(chosen, key=lambda size: op.flops(size.shapes)))


def _seconds(call: Callable[[], Any]) -> float:
    """Return the lesser of two calls: the first may load or compile something."""
    taken = []
    for _ in range(2):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)


class _Climb:
    """One run over an op's rungs: inputs are made once a size, and sizes chosen once a rung."""

    def __init__(
        self, op: Op, dtype: str, asked: Size, params: Params, seconds: float, allocations: bool
    ) -> None:
        self.op, self.dtype, self.asked, self.params = op, dtype, asked, params
        self.effort = Effort(seconds=seconds)
        self.allocations = allocations
        self.interrupted = False
        self.naive = registry.get(op.name, "naive")
        self._inputs: dict[Size, tuple[Array, ...]] = {}
        self._sizes: dict[Kernel, Size] = {}
        self._checks: dict[tuple[Kernel, Size], Check] = {}

    def inputs(self, size: Size) -> tuple[Array, ...]:
        if size not in self._inputs:
            self._inputs[size] = self.op.inputs(size.shapes, self.dtype)
        return self._inputs[size]

    def _out(self, kernel: Kernel, size: Size) -> Any:
        if not kernel.reuses_out:
            return None
        dtype = expected_dtype(self.op, self.inputs(size))
        made = tuple(
            aligned_empty(shape, dtype) for shape in self.op.output_shapes(size.shapes, self.params)
        )
        return made if self.op.outputs > 1 else made[0]

    def check(self, kernel: Kernel, size: Size) -> Check:
        if (kernel, size) not in self._checks:
            self._checks[kernel, size] = self._judge(kernel, size)
        return self._checks[kernel, size]

    def _judge(self, kernel: Kernel, size: Size) -> Check:
        out = self._out(kernel, size)
        try:
            return run_checked(self.op, kernel.function, self.inputs(size), self.params, out)
        except Exception as error:  # a rung from a user's file may raise anything
            return Check(False, math.inf, "raised", f"{type(error).__name__}: {error}")

    def call(self, kernel: Kernel, size: Size) -> Callable[[], Any]:
        out = self._out(kernel, size)
        given = {} if out is None else {"out": out}
        return functools.partial(kernel.function, *self.inputs(size), **given, **self.params)

    def size_for(self, kernel: Kernel) -> Size:
        """Return the size asked for; for an interpreted rung, the largest up to it that fits.

        Where the rung is wrong at a size on the way, that size.
        """
        if not kernel.interpreted:
            return self.asked
        if kernel not in self._sizes:
            self._sizes[kernel] = self._largest_that_fits(kernel)
        return self._sizes[kernel]

    def _largest_that_fits(self, kernel: Kernel) -> Size:
        work = self.op.flops
        smaller = (s for s in regular_sizes(self.op) if work(s.shapes) < work(self.asked.shapes))
        first, *larger = (*smaller, self.asked)
        largest = first
        for size in larger:
            if not self.check(kernel, largest).ok:
                break
            seconds = _seconds(self.call(kernel, largest))
            # The guess decides only whether the next size is tried; nothing else ever sees it.
            guess = seconds * work(size.shapes) / max(1, work(largest.shapes))
            if guess * CALLS > self.effort.seconds:
                break
            largest = size
        return largest

    def row(self, kernel: Kernel) -> LadderRow:
        refused = kernel.refuses(self.inputs(self.asked))
        if refused:
            return replace(self._blank(kernel, self.asked, _NOT_RUN), refused=refused)
        size = self.size_for(kernel)
        check = self.check(kernel, size)
        row = self._blank(kernel, size, check)
        return self._timed(kernel, size, row) if check.ok else row

    def _blank(self, kernel: Kernel, size: Size, check: Check) -> LadderRow:
        cost = self.op.cost(size.shapes, self.dtype, self.params)
        return LadderRow(
            kernel=kernel.name,
            idea=kernel.idea,
            size=size.name,
            shapes=size.shapes,
            params=dict(self.params),
            check=check,
            flops=cost.flops,
            bytes_moved=cost.bytes_moved,
        )

    def _timed(self, kernel: Kernel, size: Size, row: LadderRow) -> LadderRow:
        call = self.call(kernel, size)
        described = {
            "op": self.op.name,
            "size": size.name,
            "shapes": size.shapes,
            "dtype": self.dtype,
            "params": dict(self.params),
            "flops": row.flops,
            "bytes_moved": row.bytes_moved,
            "error_share_of_bound": row.check.worst,
        }
        name = kernel.name
        taken = race({name: call}, effort=self.effort, metadata={name: described})[name]
        row = replace(row, measurement=taken)
        self.interrupted = taken.stopped == "interrupted"
        try:
            if self.allocations and not self.interrupted:
                row = replace(row, allocations=measure_memory(call))
            if not self.interrupted and kernel != self.naive:
                row = self._against_naive(kernel, row)
        except KeyboardInterrupt:
            self.interrupted = True
        return row

    def _against_naive(self, kernel: Kernel, row: LadderRow) -> LadderRow:
        """Add the speed-up: both rungs at naive's size, in turns, once both are right there."""
        size = self.size_for(self.naive)
        for rung in (self.naive, kernel):
            if rung.refuses(self.inputs(size)) is not None:
                return row
            check = self.check(rung, size)
            if not check.ok:
                failed = self._blank(kernel, size, check)
                return failed if rung is kernel else row
        found = compare(
            self.call(self.naive, size),
            self.call(kernel, size),
            names=("naive", kernel.name),
            effort=replace(self.effort, seconds=self.effort.seconds / 2),
        )
        if "interrupted" in (found.baseline.stopped, found.candidate.stopped):
            raise KeyboardInterrupt
        return replace(row, speedup_over_naive=found.ratio, speedup_size=size.name)


def _rungs(op: Op, kernels: Sequence[str | Kernel] | None) -> tuple[Kernel, ...]:
    if not kernels:
        return registry.ladder(op.name)
    chosen = [k if isinstance(k, Kernel) else registry.get(op.name, k) for k in kernels]
    for kernel in chosen:
        if kernel.op != op.name:
            raise InvalidValue(f"{kernel.name} computes {kernel.op}, and the ladder is {op.name}'s")
    return tuple(chosen)


def run_ladder(
    op: str,
    *,
    dtype: str | None = None,
    size: str | None = None,
    params: Params | None = None,
    seconds: float = 1.0,
    kernels: Sequence[str | Kernel] | None = None,
    on_rung: Callable[[str, int, int], None] | None = None,
    measure_allocations: bool = True,
) -> Ladder:
    """Verify, then time, the rungs of an op (or those chosen), and return what was found.

    `size` is a name or shapes (`512`, `300x200:200x100`), by default the largest vector or square
    of the op's ladder; interpreted rungs stay below it where they must. `dtype` and `params`
    default to the op's first. `seconds` is the budget for timing one rung; comparing it with naive
    takes up to half of that again. `on_rung(name, done, of)` is called before each rung. Ctrl-C
    keeps the rungs already timed. Raises UnknownName or InvalidValue for what the op lacks.
    """
    described = ops.get(op)
    chosen_dtype = dtype or described.dtypes[0]
    if chosen_dtype not in described.dtypes:
        known = " or ".join(described.dtypes)
        raise InvalidValue(f"{op} takes dtype {known}, got {dtype!r}")
    if not (seconds > 0 and math.isfinite(seconds)):
        raise InvalidValue(f"seconds must be a positive number, got {seconds!r}")
    asked = described.size(size) if size else regular_sizes(described)[-1]
    wanted = described.variants[0] if params is None else params
    described.output_shape(asked.shapes, **wanted)
    rungs = _rungs(described, kernels)
    climb = _Climb(described, chosen_dtype, asked, wanted, seconds, measure_allocations)
    rows: list[LadderRow] = []
    try:
        for done, rung in enumerate(rungs):
            if on_rung:
                on_rung(rung.name, done, len(rungs))
            rows.append(climb.row(rung))
            if climb.interrupted:
                break
    except KeyboardInterrupt:
        climb.interrupted = True
    return Ladder(op, chosen_dtype, tuple(rows), climb.interrupted)
