"""Make the graph smaller and cheaper without changing what it computes, one idea a pass.

Each pass returns a well-formed graph (`ir.check`), with every use of a node after it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch.fuse.ir import Graph, Node, check
from tinytorch.fuse.table import OPERATIONS

_MOST_FACTORS = 16  # x ** n becomes products up to this n


class _Copier:
    """Builds a graph from another, node by node; `place` says where each old node went."""

    def __init__(self, graph: Graph) -> None:
        self.old = graph
        self.nodes: list[Node] = []
        self.place: list[int] = []

    def add(self, node: Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def moved(self, node: Node) -> Node:
        operands = tuple(self.place[i] for i in node.operands)
        return Node(node.op, operands, node.dtype, node.shape, node.value, node.line)

    def like(self, node: Node, op: str, *operands: int) -> int:
        """Append an operation on nodes of the new graph, of the same type and shape as `node`."""
        return self.add(Node(op, operands, node.dtype, node.shape, None, node.line))

    def done(self) -> Graph:
        return check(Graph(tuple(self.nodes), tuple(self.place[i] for i in self.old.outputs)))


def fold_constants(graph: Graph) -> Graph:
    """Compute now, by NumPy, what depends on constants alone."""
    copier = _Copier(graph)
    for old in graph.nodes:
        node = copier.moved(old)
        operands = [copier.nodes[i] for i in node.operands]
        if operands and all(o.op == "const" for o in operands):
            value = _known(node, operands)
            if value is not None:
                node = Node("const", (), node.dtype, (), value.item(), node.line)
        copier.place.append(copier.add(node))
    return copier.done()


def _known(node: Node, operands: list[Node]) -> Any:
    values = [o.dtype.type(o.value) for o in operands]
    with np.errstate(all="ignore"):
        if node.op == "cast":
            return values[0].astype(node.dtype)
        if node.op in OPERATIONS and hasattr(np, node.op):
            return np.asarray(getattr(np, node.op)(*values)).astype(node.dtype)[()]
    return None


def simplify(graph: Graph) -> Graph:
    """Replace operations by cheaper ones that give the same value."""
    copier = _Copier(graph)
    for old in graph.nodes:
        node = copier.moved(old)
        rule = _RULES.get(node.op)
        found = rule(copier, node) if rule else None
        copier.place.append(copier.add(node) if found is None else found)
    return copier.done()


def _constant(copier: _Copier, place: int) -> Any:
    node = copier.nodes[place]
    return node.value if node.op == "const" else None


def _same_shape(copier: _Copier, node: Node, place: int) -> int | None:
    return place if copier.nodes[place].shape == node.shape else None


def _power(copier: _Copier, node: Node) -> int | None:
    """A small whole power becomes products: within an ulp a factor, ten times as fast."""
    base, exponent = node.operands
    value = _constant(copier, exponent)
    if value is None or not 1 <= value <= _MOST_FACTORS or value != int(value):
        return None
    return _product(copier, node, base, int(value))


def _product(copier: _Copier, node: Node, base: int, factors: int) -> int | None:
    """Return base to the power `factors`, by squaring."""
    square, total = base, None
    while factors:
        if factors & 1:
            total = square if total is None else copier.like(node, "multiply", total, square)
        factors >>= 1
        square = copier.like(node, "square", square) if factors else square
    return total


def _multiply(copier: _Copier, node: Node) -> int | None:
    for place, other in (node.operands, node.operands[::-1]):
        if _constant(copier, place) == 1 and node.dtype.kind != "b":
            return _same_shape(copier, node, other)
    if node.operands[0] == node.operands[1] and node.dtype.kind != "b":
        return copier.like(node, "square", node.operands[0])
    return None


def _divide(copier: _Copier, node: Node) -> int | None:
    """x / c is x * (1/c) only where 1/c is exact: c is a power of two."""
    x, by = node.operands
    value = _constant(copier, by)
    if value is None or not value or not math.isfinite(value):
        return None
    if value == 1:
        return _same_shape(copier, node, x)
    tiny = float(np.finfo(node.dtype).smallest_normal)
    if abs(math.frexp(value)[0]) != 0.5 or not tiny <= abs(1 / value) <= 1 / tiny:
        return None
    inverse = Node("const", (), node.dtype, (), 1 / value, node.line)
    return copier.like(node, "multiply", x, copier.add(inverse))


def _subtract(copier: _Copier, node: Node) -> int | None:
    x, what = node.operands
    zero = _constant(copier, what)
    return _same_shape(copier, node, x) if zero == 0 and math.copysign(1, zero) > 0 else None


def _negative(copier: _Copier, node: Node) -> int | None:
    inner = copier.nodes[node.operands[0]]
    return inner.operands[0] if inner.op == "negative" else None


def _cast(copier: _Copier, node: Node) -> int | None:
    return node.operands[0] if copier.nodes[node.operands[0]].dtype == node.dtype else None


def _fold_of_one(copier: _Copier, node: Node) -> int | None:
    """Folding axes of size one changes nothing but the shape."""
    inner = copier.nodes[node.operands[0]]
    if any(d != 1 for d in inner.shape[len(inner.shape) - node.value :]):
        return None
    return copier.add(Node("squeeze", node.operands, node.dtype, node.shape, node.value, node.line))


_RULES: dict[str, Callable[[_Copier, Node], int | None]] = {
    "power": _power,
    "multiply": _multiply,
    "divide": _divide,
    "subtract": _subtract,
    "negative": _negative,
    "cast": _cast,
    "positive": lambda copier, node: node.operands[0],
    **dict.fromkeys(("sum", "prod", "max", "min", "any", "all"), _fold_of_one),
}


def share_common(graph: Graph) -> Graph:
    """Compute each value once: nodes that say the same become one."""
    copier = _Copier(graph)
    known: dict[object, int] = {}
    for old in graph.nodes:
        node = copier.moved(old)
        # NOTE: repr, for 0.0 equals -0.0 and 1 equals True, and a NaN not even itself.
        key = (node.op, node.operands, node.dtype, node.shape, repr(node.value))
        if key not in known:
            known[key] = copier.add(node)
        copier.place.append(known[key])
    return copier.done()


def drop_unused(graph: Graph) -> Graph:
    """Leave out what no result needs."""
    needed = set(graph.outputs)
    for i in range(len(graph.nodes) - 1, -1, -1):
        if i in needed:
            needed.update(graph.nodes[i].operands)
    copier = _Copier(graph)
    for i, node in enumerate(graph.nodes):
        copier.place.append(copier.add(copier.moved(node)) if i in needed else -1)
    return copier.done()


def know_ranges(graph: Graph) -> Graph:
    """Use what is known of values: x less its own maximum is not positive, so exp is cheaper.

    The largest of a row's exponentials is then 1 and their sum at least that, and a square root is
    neither tiny nor huge: its inverse, once a row, may stand for a division of each element.
    """
    copier = _Copier(graph)
    for old in graph.nodes:
        node = copier.moved(old)
        if node.op == "exp" and _is_less_its_maximum(copier, node.operands[0]):
            copier.place.append(copier.like(node, "exp_nonpositive", *node.operands))
        elif node.op == "divide" and _has_an_inverse(copier, node):
            x, by = node.operands
            inverse = copier.like(copier.nodes[by], "reciprocal", by)
            copier.place.append(copier.like(node, "multiply", x, inverse))
        else:
            copier.place.append(copier.add(node))
    return copier.done()


def _row_value(copier: _Copier, place: int, fold: str) -> Node | None:
    """Return the fold over the last axes that a value stretches along them again, if it is one."""
    node = copier.nodes[place]
    if node.op != "expand":
        return None
    inner = copier.nodes[node.operands[0]]
    leading = len(inner.shape)
    along = node.value == tuple(range(leading, len(node.shape)))
    return inner if along and inner.op == fold and inner.value == len(node.value) else None


def _is_less_its_maximum(copier: _Copier, place: int) -> bool:
    node = copier.nodes[place]
    if node.op != "subtract":
        return False
    largest = _row_value(copier, node.operands[1], "max")
    return largest is not None and largest.operands == node.operands[:1]


def _has_an_inverse(copier: _Copier, division: Node) -> bool:
    """Say whether one divisor serves a row, and its inverse neither overflows nor loses digits."""
    place = division.operands[1]
    by = copier.nodes[place]
    if by.op == "sqrt":
        return by.shape[-1:] == (1,) != division.shape[-1:]
    total = _row_value(copier, place, "sum")
    return total is not None and copier.nodes[total.operands[0]].op == "exp_nonpositive"


_PLUS_ONE = {"exp": "one_plus_exp", "tanh": "one_plus_tanh"}


def join_with_one(graph: Graph) -> Graph:
    """Compute 1 + exp(x) and 1 + tanh(x) in one go: beside 1 there is no care for what is tiny."""
    uses = Counter(i for node in graph.nodes for i in node.operands)
    uses.update(graph.outputs)
    copier = _Copier(graph)
    for old in graph.nodes:
        node, found = copier.moved(old), None
        if node.op == "add":
            pairs = zip(old.operands[::-1], node.operands, node.operands[::-1], strict=True)
            for place, one, function in pairs:
                inner = copier.nodes[function]
                joined = _PLUS_ONE.get(inner.op) if uses[place] == 1 else None
                if joined and _constant(copier, one) == 1 and inner.shape == node.shape:
                    found = copier.like(node, joined, *inner.operands)
        copier.place.append(copier.add(node) if found is None else found)
    return copier.done()


PASSES: tuple[Callable[[Graph], Graph], ...] = (
    fold_constants,
    simplify,
    share_common,
    know_ranges,
    join_with_one,
    drop_unused,
)


def optimise(graph: Graph) -> list[tuple[str, Graph]]:
    """Run the passes in order; return the graph after each, with the pass's name."""
    history = [("traced", check(graph))]
    for step in PASSES:
        history.append((step.__name__, step(history[-1][1])))
    return history
