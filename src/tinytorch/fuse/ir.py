"""The graph a NumPy function becomes: immutable nodes with a dtype and a shape of named sizes.

A shape holds 1 for an axis known to be of size one, and a size's name (`x.0` is the first axis of
the argument x) otherwise; two axes have one name only where broadcasting forces them to be equal.
So one graph serves every call whose arguments have these dtypes, ranks and axes of size one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch.fuse.table import OPERATIONS, REDUCTIONS

Dim = int | str
Shape = tuple[Dim, ...]
DType = np.dtype[Any]

LEAVES = ("input", "param", "const")


@dataclass(frozen=True)
class Node:
    """One value.

    op: a leaf ('input': an array argument; 'param': a number known when called; 'const': one known
    now), 'cast', 'expand' (axes of size one put in), 'squeeze' (the last ones left out), a
    reduction over the last axes, or a name of `table.OPERATIONS`. `value` is the argument's or
    parameter's index, the constant, the places of the new axes, or how many axes go.
    `line` is where the user's function asked for it.
    """

    op: str
    operands: tuple[int, ...]
    dtype: DType
    shape: Shape
    value: Any = None
    line: str = ""


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which operands come first, and which of them are results."""

    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        for i, node in enumerate(self.nodes):
            inside = [f"%{k}" for k in node.operands]
            inside += [str(node.value)] if node.value is not None else []
            shape = ", ".join(map(str, node.shape))
            yield f"%{i} = {node.op}({', '.join(inside)}) : {node.dtype}[{shape}]"
        yield "return " + ", ".join(f"%{i}" for i in self.outputs)


def is_reduction(node: Node) -> bool:
    """Say whether a node folds its operand's last axes."""
    return node.op in REDUCTIONS


def broadcast(*shapes: Shape) -> Shape:
    """Return the shape that operands with these shapes have together, names being unified."""
    rank = max((len(shape) for shape in shapes), default=0)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(next((d for d in dims if d != 1), 1) for dims in zip(*padded, strict=True))


def _expected_shape(node: Node, operands: list[Node]) -> Shape:
    if node.op == "expand":
        inner = iter(operands[0].shape)
        rank = len(operands[0].shape) + len(node.value)
        return tuple(1 if i in node.value else next(inner) for i in range(rank))
    if is_reduction(node):
        return operands[0].shape[: len(operands[0].shape) - node.value]
    if node.op == "squeeze":
        assert all(d == 1 for d in operands[0].shape[-node.value :]), "squeezed axes have size one"
        return operands[0].shape[: -node.value]
    return broadcast(*(operand.shape for operand in operands))


def check(graph: Graph) -> Graph:
    """Return the graph if it is well formed: our own invariant, held after each pass."""
    for i, node in enumerate(graph.nodes):
        assert all(0 <= k < i for k in node.operands), f"%{i} uses what comes after it"
        operands = [graph.nodes[k] for k in node.operands]
        if node.op in LEAVES:
            assert not operands, f"%{i} is a leaf with operands"
            assert node.op == "input" or node.shape == (), f"%{i} is a number with axes"
            continue
        assert node.shape == _expected_shape(node, operands), f"%{i} has the wrong shape"
        if node.op in OPERATIONS:
            kinds = OPERATIONS[node.op].sources
            computed = operands[-1].dtype
            assert computed.kind in kinds, f"%{i}: {node.op} has no form for {computed}"
            first = 1 if node.op == "where" else 0
            same = {operand.dtype for operand in operands[first:]}
            assert len(same) == 1, f"%{i}: operands of {node.op} differ in dtype"
        else:
            assert node.op in ("cast", "expand", "squeeze") or is_reduction(node), (
                f"%{i}: what is {node.op}?"
            )
    assert all(0 <= i < len(graph.nodes) for i in graph.outputs), "a result does not exist"
    return graph
