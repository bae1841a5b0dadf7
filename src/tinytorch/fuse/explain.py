"""What `f.explain(...)` returns: the graphs, the emitted code, the cost, the time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tinytorch import config
from tinytorch.errors import InvalidValue, VerificationError
from tinytorch.fuse.ir import LEAVES, Graph, Node, is_reduction
from tinytorch.fuse.plan import Plan
from tinytorch.fuse.table import OPERATIONS
from tinytorch.measure import machine
from tinytorch.measure.roofline import Roof
from tinytorch.measure.units import bytes_text, figures, percent_text, ratio_text, seconds_text
from tinytorch.native import threads

if TYPE_CHECKING:
    from tinytorch.measure.clock import Comparison

_VIEWS = ("expand", "squeeze")


@dataclass(frozen=True)
class Explanation:
    """How one call is fused.

    history: (pass, graph after it); source: the emitted file. `flops` counts the graph that runs,
    `bytes_moved` its compulsory traffic, `unfused_bytes` what NumPy reads and writes, operation by
    operation. roof: the measured ceilings over it, None where they were not measured. measured:
    the race against the unfused function, where it was asked for; computing_seconds: what the
    instructions of a large call take on operands in the first cache, where that can be had.
    """

    name: str
    history: tuple[tuple[str, Graph], ...]
    source: str
    flops: int
    bytes_moved: int
    unfused_bytes: int
    roof: Roof | None
    measured: Comparison | None
    computing_seconds: float | None = None

    @property
    def predicted_seconds(self) -> float | None:
        """The least time that the measured ceilings allow; None without ceilings."""
        if self.roof is None:
            return None
        return max(
            self.flops / self.roof.peak_flops_per_s, self.bytes_moved / self.roof.bytes_per_s
        )

    def __str__(self) -> str:
        shown = [f"{self.name}: {' => '.join(name for name, _ in self.history)}"]
        before = None
        for name, graph in self.history:
            text = str(graph)
            shown += [f"\n== {name}", text if text != before else "(as before)"]
            before = text
        shown += ["\n== emitted", self.source, "== cost", *self._cost()]
        return "\n".join(shown)

    def _cost(self) -> list[str]:
        share = self.unfused_bytes / self.bytes_moved
        lines = [
            f"{figures(self.flops)} FLOP",
            f"{bytes_text(self.bytes_moved)} moved; unfused NumPy moves "
            f"{bytes_text(self.unfused_bytes)}, {figures(share)} times as much",
        ]
        if self.roof is None or self.predicted_seconds is None:
            lines.append("no prediction: the ceilings of this machine were not measured")
        else:
            computing = self.flops / self.roof.peak_flops_per_s
            bound = "computing" if computing == self.predicted_seconds else "memory traffic"
            lines.append(
                f"roofline: at least {seconds_text(self.predicted_seconds)}, bound by {bound} "
                f"({self.roof.level})"
            )
        if self.measured is not None:
            seconds = self.measured.candidate.median
            lines.append(
                f"measured: {seconds_text(seconds)}, {ratio_text(self.measured.ratio)} the speed "
                f"of unfused NumPy ({self.measured.verdict})"
            )
            if self.predicted_seconds:
                reached = percent_text(self.predicted_seconds / seconds)
                lines[-1] += f", {reached} of the roofline's prediction"
            if self.computing_seconds is not None:
                part = percent_text(self.computing_seconds / seconds)
                lines.append(
                    f"its instructions alone, on operands in the first cache: "
                    f"{seconds_text(self.computing_seconds)}, {part} of that"
                )
        return lines


def _elements(node: Node, sizes: dict[str, int]) -> int:
    return math.prod(d if isinstance(d, int) else sizes[d] for d in node.shape)


def _traffic(graph: Graph, sizes: dict[str, int]) -> int:
    """Return the bytes that NumPy reads and writes if each operation runs by itself."""
    total = 0
    for node in graph.nodes:
        if node.op not in LEAVES and node.op not in _VIEWS:
            touched = [node, *(graph.nodes[i] for i in node.operands)]
            total += sum(_elements(n, sizes) * n.dtype.itemsize for n in touched)
    return total


def _flops(graph: Graph, sizes: dict[str, int]) -> int:
    total = 0
    for node in graph.nodes:
        if node.op in OPERATIONS:
            total += OPERATIONS[node.op].flops * _elements(node, sizes)
        elif is_reduction(node):
            total += _elements(graph.nodes[node.operands[0]], sizes)
    return total


def _roof(dtype: np.dtype[Any], bytes_moved: int) -> Roof | None:
    """Return the roof of this machine, if its ceilings are on disk: nothing is measured here."""
    from tinytorch.measure.ceilings import ceilings

    count = threads.get_num_threads()
    path = config.cache_dir() / "ceilings" / f"{machine.fingerprint()}-{count}.json"
    if not path.exists():
        return None
    known = ceilings()
    if dtype.name not in known.gflops_per_s:
        return None
    level = known.level_for(1.5 * bytes_moved, count)
    return Roof(
        known.peak_flops_per_s(dtype.name, count),
        known.bandwidth_bytes_per_s(level.name, count),
        level.name,
    )


def _race(
    plan: Plan, plain: Callable[..., Any], fused: Callable[..., Any], arguments: tuple[Any, ...]
) -> Comparison:
    """Check the fused result against the unfused one, then time both, the fused into `out`."""
    from tinytorch.measure.clock import compare

    made = fused(*arguments)
    with np.errstate(all="ignore"):
        wanted = plain(*arguments)
        single = plan.single
        for got, want in zip(*(((made,), (wanted,)) if single else (made, wanted)), strict=True):
            _verify(plan.name, np.asarray(got), np.asarray(want))
        out = np.asarray(made) if single else tuple(np.asarray(m) for m in made)
        return compare(
            lambda: plain(*arguments),
            lambda: fused(*arguments, out=out),
            names=("unfused", "fused"),
        )


def _computing_seconds(fused: Any, plan: Plan, arguments: tuple[Any, ...]) -> float | None:
    """Return the seconds of a large call's instructions alone, None where rows don't fit."""
    from tinytorch.fuse.incache import in_cache
    from tinytorch.measure.clock import measure

    if not plan.large:
        return None
    try:
        found = in_cache(fused, arguments)
    except InvalidValue:
        return None
    return measure(found.run, plan.name).median / found.share


def _verify(name: str, got: np.ndarray[Any, Any], want: np.ndarray[Any, Any]) -> None:
    # NOTE: both were rounded in the same dtype, so all that can be asked is agreement to half of
    # its digits; the tests hold each operation to far less.
    half = float(np.finfo(want.dtype).eps) ** 0.5 if want.dtype.kind == "f" else 0.0
    same = got.dtype == want.dtype and np.allclose(got, want, half, half, equal_nan=True)
    if not same:
        raise VerificationError(f"{name}, fused, does not give what it gives unfused: not timed")


def explain(
    plan: Plan,
    plain: Callable[..., Any],
    fused: Callable[..., Any],
    arguments: tuple[Any, ...],
    measure: bool,
) -> Explanation:
    """Explain one call of a plan; `measure` also times it against the plain function."""
    program, sizes = plan.program, plan.sizes
    graph = program.graph
    touched = [*program.inputs.values(), *(graph.nodes[i] for i in graph.outputs)]
    bytes_moved = sum(_elements(n, sizes) * n.dtype.itemsize for n in touched)
    return Explanation(
        name=plan.name,
        history=tuple(program.history),
        source=plan.emit().source,
        flops=_flops(graph, sizes),
        bytes_moved=bytes_moved,
        unfused_bytes=_traffic(program.history[0][1], sizes),
        roof=_roof(graph.nodes[graph.outputs[0]].dtype, bytes_moved),
        measured=_race(plan, plain, fused, arguments) if measure else None,
        computing_seconds=_computing_seconds(fused, plan, arguments) if measure else None,
    )
