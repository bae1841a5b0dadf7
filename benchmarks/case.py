"""A case: something to compute, how its outputs are judged, and the bar it has to reach."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch import ops
from tinytorch.ops.spec import Array, Op, Params, Shapes, Tolerance
from tinytorch.ops.verify import verify

Judge = Callable[[Sequence[Array]], str]


@dataclass(frozen=True)
class Case:
    """One case. Peers look up `kind`, and get `params` and the arrays that `inputs` makes.

    judge: given the inputs, returns a function from outputs to what is wrong with them ('': right).
    flops: of one call, where they are counted. quick: whether a quick run has it.
    """

    name: str
    kind: str
    inputs: Callable[[], tuple[Any, ...]]
    judge: Callable[[tuple[Any, ...]], Judge]
    params: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    flops: int = 0
    quick: bool = False


@dataclass(frozen=True)
class Bar:
    """What must hold: (the best rival's time / ours) >= at_least, on each case or as their mean.

    rivals: names, or () for every peer that is no yardstick; each: on every case, else the
    geometric mean; only: the cases it is about, () for all of the group.
    """

    says: str
    at_least: float
    rivals: tuple[str, ...] = ()
    each: bool = True
    only: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """Cases that belong together: one table, one chart, the same peers and bars.

    order: its place on the page. unit: what speed is shown in, "GFLOP/s" or "GB/s". floor: what no
    call can be faster than: the longest of some yardsticks' times, each the shortest of its names.
    """

    name: str
    title: str
    cases: tuple[Case, ...]
    peers: tuple[str, ...]
    bars: tuple[Bar, ...]
    order: int
    unit: str = "GFLOP/s"
    floor: tuple[tuple[str, ...], ...] = ()


Chosen = Sequence[tuple[Group, list[Case]]]


def wanted(groups: Sequence[Group], names: Sequence[str], quick: bool) -> Chosen:
    """Return the groups with the cases asked for: of a group by its name, a quick run's or all.

    A case that is asked for by a part of its own name is taken either way; what names a group
    stands for that group alone.
    """
    known = {group.name for group in groups}
    parts = [name for name in names if name not in known]
    chosen = []
    for group in groups:
        if not names or group.name in names:
            some = [c for c in group.cases if c.quick or not quick]
        else:
            some = [c for c in group.cases if any(part in c.name for part in parts)]
        if some:
            chosen.append((group, some))
    return chosen


def _once(op: Op, inputs: tuple[Array, ...], params: Params) -> Op:
    """Return the op with reference and bound already computed for these inputs.

    A float64 reference of a large product takes seconds, and every peer is held against it.
    """
    exact = [a.astype(np.float64) if a.dtype.kind == "f" else a.astype(np.int64) for a in inputs]
    with np.errstate(all="ignore"):
        reference = np.asarray(op.reference(*exact, **params))
        bound = np.asarray(op.tolerance.bound(reference, *exact, **params))
    known = Tolerance(op.tolerance.why, lambda *_, **__: bound)
    return dataclasses.replace(op, reference=lambda *_, **__: reference, tolerance=known)


def judge_op(name: str, params: Params, inputs: tuple[Any, ...]) -> Judge:
    """Return a judge of an op's one output, by `verify` with the op's own bound."""
    op = _once(ops.get(name), inputs, params)

    def judge(outputs: Sequence[Array]) -> str:
        if len(outputs) != 1:
            return f"{len(outputs)} outputs where one is due"
        check = verify(op, inputs, outputs[0], params)
        return "" if check.ok else f"{check.fault}: {check.reason}"

    return judge


def op_case(name: str, op: str, shapes: Shapes, *, quick: bool = False, **params: Any) -> Case:
    """Return a case of one op of the registry, judged by `verify` with the op's own bound."""
    described = ops.get(op)
    return Case(
        name=name,
        kind=op,
        inputs=lambda: described.inputs(shapes),
        judge=functools.partial(judge_op, op, params),
        params=params,
        flops=described.flops(shapes, **params),
        quick=quick,
    )
