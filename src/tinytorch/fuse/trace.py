"""Run a NumPy function on stand-ins for its arguments and write down what it does to them.

An array stands in as a `Traced`; a Python number, and a size read from a shape, as a `Number`,
which Python itself computes with when the program is called. Where the function needs to know a
number (an `if`, an axis, `int(n)`), the program is made for that value alone.
"""

from __future__ import annotations

import linecache
import operator
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tinytorch.errors import FusionError, ShapeError
from tinytorch.fuse.ir import DType, Graph, Node, Shape, broadcast, check

Arguments = tuple[Any, ...]
_OURS = (str(Path(__file__).parent), str(Path(np.__file__).parent))


@dataclass(frozen=True)
class Host:
    """A number that Python computes from the arguments: `varies` with their values, or only with
    their shapes; `depends` on these arguments."""

    text: str
    compute: Callable[[Arguments], Any]
    varies: bool = False
    depends: frozenset[int] = frozenset()


def constant(value: Any) -> Host:
    """Return a number that is known already."""
    return Host(repr(value), lambda arguments: value)


def user_line() -> str:
    """Return `file:line: source` of the nearest frame that is neither ours nor NumPy's."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    name, number = frame.f_code.co_filename, frame.f_lineno
    return f"{name}:{number}: {linecache.getline(name, number).strip()}"


def refuse(reason: str, remedy: str) -> NoReturn:
    """Raise the FusionError for the user's current line."""
    raise FusionError(f"can't fuse {user_line()}\n  {reason}; {remedy}")


@dataclass(frozen=True)
class Trace:
    """What one trace found: the graph, its parameters, and the arguments it is made for by value.

    `sizes` maps each size's name to (argument, axis); `equal` lists names that must agree.
    """

    graph: Graph
    params: tuple[Host, ...]
    sizes: dict[str, tuple[int, int]]
    equal: tuple[tuple[str, str], ...]
    static: frozenset[int]
    single: bool


@dataclass(frozen=True)
class Rules:
    """How operations on stand-ins are recorded: ufuncs, NumPy's other functions, and methods."""

    ufunc: Callable[..., Any]
    function: Callable[..., Any]
    methods: Mapping[str, Callable[..., Any]]


class Recorder:
    """Collects the nodes of one trace, and which sizes broadcasting makes equal.

    `rigid`: an argument's axis of size one is a size like any other, and is never stretched.
    """

    def __init__(self, rules: Rules, rigid: bool = False) -> None:
        self.rules, self.rigid = rules, rigid
        self.nodes: list[Node] = []
        self.params: list[Host] = []
        self.sizes: dict[str, tuple[int, int]] = {}
        self.equal: list[tuple[str, str]] = []
        self.static: set[int] = set()
        self._param_places: dict[tuple[str, DType], int] = {}
        self._extent: dict[str, int] = {}
        self._same: dict[str, str] = {}

    def add(self, op: str, operands: tuple[int, ...], dtype: DType, value: Any = None) -> int:
        """Append an elementwise node or a leaf and return its place."""
        shape = self.broadcast(*(self.nodes[i].shape for i in operands))
        return self.append(Node(op, operands, np.dtype(dtype), shape, value))

    def append(self, node: Node) -> int:
        """Append a node whose shape is known, and return its place."""
        if node.dtype.kind not in "fiub" or (node.dtype.itemsize == 2 and node.dtype.kind == "f"):
            refuse(f"{node.op} gives {node.dtype}", "cast to float32, float64, an integer or bool")
        if node.dtype.itemsize > 8 or not node.dtype.isnative:
            refuse(f"{node.dtype.str} is not a native type", "cast to float64 or native byte order")
        self.nodes.append(replace(node, line=user_line()))
        return len(self.nodes) - 1

    def name_of(self, name: str) -> str:
        """Return the one name that stands for all sizes known to be equal to this one."""
        while name in self._same:
            name = self._same[name]
        return name

    def axis(self, argument: int, axis: int, name: str, extent: int) -> int | str:
        """Return the size of an argument's axis: 1, or a new name."""
        if extent == 1 and not self.rigid:
            return 1
        self.sizes[name] = (argument, axis)
        self._extent[name] = extent
        return name

    def extent(self, name: str) -> int:
        """Return how large a size is in the call that is traced."""
        return self._extent[name]

    def broadcast(self, *shapes: Shape) -> Shape:
        """Return the common shape, noting the sizes that have to be equal for there to be one."""
        common = broadcast(*shapes)
        for shape in shapes:
            for mine, theirs in zip(reversed(shape), reversed(common), strict=False):
                if isinstance(mine, str) and isinstance(theirs, str):
                    self._unify(mine, theirs)
        return common

    def _unify(self, a: str, b: str) -> None:
        first, second = self.name_of(a), self.name_of(b)
        if first == second:
            return
        if self._extent[first] != self._extent[second]:
            raise ShapeError(
                f"{first} is {self._extent[first]} and {second} is {self._extent[second]}: "
                f"they can't be broadcast together, in {user_line()}"
            )
        self.equal.append((first, second))
        self._same[first] = second

    def param(self, host: Host, dtype: DType) -> int:
        """Append a number that is computed when the program is called."""
        self.params.append(host)
        place = self.append(Node("param", (), np.dtype(dtype), (), len(self.params) - 1))
        return self._param_places.setdefault((host.text, self.nodes[place].dtype), place)

    def concrete(self, host: Host, value: Any) -> Any:
        """Return the value itself; the program is from now on made for it alone."""
        self.static |= host.depends
        return value

    def finish(self, outputs: list[int], single: bool) -> Trace:
        """Return everything found, with one name for each size."""

        def named(shape: Shape) -> Shape:
            return tuple(d if isinstance(d, int) else self.name_of(d) for d in shape)

        nodes = tuple(replace(node, shape=named(node.shape)) for node in self.nodes)
        return Trace(
            check(Graph(nodes, tuple(outputs))),
            tuple(self.params),
            self.sizes,
            tuple(self.equal),
            frozenset(self.static),
            single,
        )


class Number:
    """A Python number (int or float) that is not known when the program is compiled."""

    def __init__(self, recorder: Recorder, host: Host, value: Any) -> None:
        self.recorder, self.host, self.value = recorder, host, value

    def _concrete(self) -> Any:
        return self.recorder.concrete(self.host, self.value)

    def __bool__(self) -> bool:
        return bool(self._concrete())

    def __int__(self) -> int:
        return int(self._concrete())

    def __float__(self) -> float:
        return float(self._concrete())

    def __index__(self) -> int:
        return operator.index(self._concrete())

    def __round__(self, digits: int | None = None) -> Any:
        return round(self._concrete(), digits)

    def __hash__(self) -> int:
        return hash(self._concrete())

    def __repr__(self) -> str:
        return repr(self._concrete())

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
        return self.recorder.rules.ufunc(self.recorder, ufunc, method, inputs, keywords)


def compute(recorder: Recorder, call: Callable[..., Any], name: str, values: Arguments) -> Number:
    """Return the Number that `call` gives for numbers, some of them not known yet."""
    hosts = [v.host if isinstance(v, Number) else constant(v) for v in values]
    known = [v.value if isinstance(v, Number) else v for v in values]
    host = Host(
        f"{name}({', '.join(h.text for h in hosts)})",
        lambda arguments: call(*(h.compute(arguments) for h in hosts)),
        any(h.varies for h in hosts),
        frozenset().union(*(h.depends for h in hosts)),
    )
    return Number(recorder, host, call(*known))


def _operator(name: str, reflected: bool) -> Callable[..., Any]:
    call = getattr(operator, name)

    def method(self: Number, other: Any) -> Any:
        if not isinstance(other, Number | int | float):
            return NotImplemented
        pair = (other, self) if reflected else (self, other)
        if name == "pow" and not _keeps_its_type(*pair):
            known = [v._concrete() if isinstance(v, Number) else v for v in pair]
            return call(*known)
        return compute(self.recorder, call, name, pair)

    return method


def _unary_operator(name: str) -> Callable[[Number], Number]:
    def method(self: Number) -> Number:
        return compute(self.recorder, getattr(operator, name), name, (self,))

    return method


def _keeps_its_type(base: Any, exponent: Any) -> bool:
    """Say whether base ** exponent has the same Python type whatever the values are."""
    # NOTE: a negative float to a fractional power is complex, which no array dtype here accepts, so
    # that is an error when it happens.
    kinds = [type(v.value if isinstance(v, Number) else v) for v in (base, exponent)]
    return kinds != [int, int] or (not isinstance(exponent, Number) and exponent >= 0)


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    setattr(Number, f"__{_name}__", _operator(_name, reflected=False))
    setattr(Number, f"__r{_name}__", _operator(_name, reflected=True))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    setattr(Number, f"__{_name}__", _operator(_name, reflected=False))
for _name in ("neg", "pos", "abs"):
    setattr(Number, f"__{_name}__", _unary_operator(_name))
