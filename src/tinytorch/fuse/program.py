"""From a function and one call's arguments to compiled code, in steps that `explain` can show."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinytorch.errors import FusionError, ShapeError
from tinytorch.fuse.arrays import Traced
from tinytorch.fuse.functions import RULES
from tinytorch.fuse.ir import Graph, Node
from tinytorch.fuse.passes import optimise
from tinytorch.fuse.schedule import Nest, Scheduler, late_reads
from tinytorch.fuse.trace import Arguments, Host, Number, Recorder, Trace

Array = np.ndarray[Any, Any]
_TAKEN = re.compile(
    r"[a-z]+\d+(_\d+|_far)?|math|np|loops|trig|vmath|jit|prange|row|rest|turn|first|last|shares?|block"
    r"|beyond|edge|half|middle|end|range|min|max"
)


def safe_name(name: str) -> str:
    """Return a name for an argument that emitted code uses for nothing else."""
    return f"{name}_" if _TAKEN.fullmatch(name) else name


def stand_in(recorder: Recorder, place: int, name: str, value: Any) -> Any:
    """Return what a function is traced with instead of one argument."""
    if isinstance(value, bool):
        return recorder.concrete(_argument(place, name), value)
    if isinstance(value, int | float) and not isinstance(value, np.generic):
        return Number(recorder, _argument(place, name), value)
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        return Traced(recorder, recorder.param(_argument(place, name), value.dtype))
    if isinstance(value, np.ndarray):
        shape = tuple(
            recorder.axis(place, axis, f"{name}.{axis}", extent)
            for axis, extent in enumerate(value.shape)
        )
        node = Node("input", (), value.dtype, shape, place)
        return Traced(recorder, recorder.append(node))
    return recorder.concrete(_argument(place, name), value)


def _argument(place: int, name: str) -> Host:
    return Host(name, lambda arguments: arguments[place], True, frozenset({place}))


def trace(
    function: Callable[..., Any], names: tuple[str, ...], arguments: Arguments, rigid: bool
) -> Trace:
    """Run the function on stand-ins and return what it did; raises FusionError."""
    recorder = Recorder(RULES, rigid)
    given = [stand_in(recorder, i, n, v) for i, (n, v) in enumerate(zip(names, arguments))]  # noqa: B905
    result = function(*given)
    single = not isinstance(result, tuple | list)
    results = [result] if single else list(result)
    for value in results:
        if not isinstance(value, Traced) or value.recorder is not recorder:
            what = type(value).__name__
            raise FusionError(
                f"can't fuse {where(function)}\n  it returns a {what}, not an array made from its "
                "arguments; return arrays, or a tuple of arrays"
            )
    return recorder.finish([value.place for value in results], single)


def where(function: Callable[..., Any]) -> str:
    """Return a function's name and the place of its first line."""
    code = inspect.unwrap(function).__code__
    return f"{function.__qualname__} ({code.co_filename}:{code.co_firstlineno})"


@dataclass
class Program:
    """A traced and simplified function, for every call of one kind.

    `late` are pairs (result, argument) that may not be one array.
    """

    traced: Trace
    history: list[tuple[str, Graph]]
    nests: list[Nest]
    late: frozenset[tuple[int, int]]
    compiled: dict[Any, Any] = field(default_factory=dict)

    @property
    def graph(self) -> Graph:
        """The graph after all passes."""
        return self.history[-1][1]

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        names: tuple[str, ...],
        arguments: Arguments,
        rigid: bool = False,
    ) -> Program:
        """Trace, simplify and schedule."""
        traced = trace(function, names, arguments, rigid)
        history = optimise(traced.graph)
        nests = Scheduler(history[-1][1]).run()
        return cls(traced, history, nests, late_reads(history[-1][1], nests))

    @property
    def inputs(self) -> dict[int, Node]:
        """The array arguments that the graph reads, by their place."""
        return {n.value: n for n in self.graph.nodes if n.op == "input"}

    def sizes(self, arguments: Arguments) -> dict[str, int]:
        """Return the sizes in a call, by name; raises ShapeError where they don't fit together."""
        seen = {
            name: arguments[place].shape[axis] for name, (place, axis) in self.traced.sizes.items()
        }
        for a, b in self.traced.equal:
            if seen[a] != seen[b]:
                raise ShapeError(
                    f"{a} is {seen[a]} and {b} is {seen[b]}: they can't be broadcast together"
                )
        return seen

    def shapes(self, sizes: dict[str, int]) -> list[tuple[int, ...]]:
        """Return the results' shapes."""
        return [
            tuple(d if isinstance(d, int) else sizes[d] for d in self.graph.nodes[i].shape)
            for i in self.graph.outputs
        ]

    def dtypes(self) -> list[np.dtype[Any]]:
        """Return the results' dtypes."""
        return [self.graph.nodes[i].dtype for i in self.graph.outputs]

    def few_rows(self, sizes: dict[str, int]) -> tuple[bool, ...]:
        """Say for each nest whether its rows are too few and too long to be shared out whole."""
        return tuple(
            math.prod(_extents(nest.space[: len(nest.space) - nest.folded], sizes)) < 16
            and math.prod(_extents(nest.space[len(nest.space) - nest.folded :], sizes)) >= 32_768
            and nest.folded > 0
            for nest in self.nests
        )

    def work(self, sizes: dict[str, int]) -> int:
        """Return how many elements all nests walk over."""
        return sum(nest.passes * math.prod(_extents(nest.space, sizes)) for nest in self.nests)


def _extents(dims: tuple[int | str, ...], sizes: dict[str, int]) -> list[int]:
    return [d if isinstance(d, int) else sizes[d] for d in dims]
