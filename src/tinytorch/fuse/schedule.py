"""Which loops compute a graph: reductions over the same axes share a nest, what they feed follows.

A nest walks one iteration space, rows by columns. Its columns are the axes that its reductions
fold; where nothing is folded, the last axes. Each row takes one pass over its columns for every
reduction that waits for another one (softmax: maximum, sum, quotient), and the row stays in cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tinytorch.fuse.ir import LEAVES, Graph, Node, Shape, is_reduction
from tinytorch.fuse.table import OPERATIONS, REDUCTIONS

# For each axis of a value, the axis of the nest's space that it follows (None: it has size one).
Index = tuple[int | None, ...]
Value = tuple[int, Index]
Key = tuple[Shape, int]


def full_index(space: Shape) -> Index:
    """Return the index of a value that has the space's own shape."""
    return tuple(None if dim == 1 else axis for axis, dim in enumerate(space))


def operand_values(graph: Graph, value: Value) -> list[Value]:
    """Return the operands' elements that one element of an elementwise value or view needs."""
    node, index = graph.nodes[value[0]], value[1]
    if node.op == "expand":
        kept = tuple(axis for i, axis in enumerate(index) if i not in node.value)
        return [(node.operands[0], kept)]
    if node.op == "squeeze":
        return [(node.operands[0], index + (None,) * node.value)]
    found = []
    for i in node.operands:
        shape = graph.nodes[i].shape
        mine = index[len(index) - len(shape) :]
        found.append((i, tuple(None if d == 1 else a for d, a in zip(shape, mine, strict=True))))
    return found


@dataclass(frozen=True)
class Store:
    """A result, or a folded value that a later nest reads: written to `target` after pass `time`.

    `target` is ('out', i) or ('temp', node).
    """

    value: Value
    target: tuple[str, int]
    time: int
    per_element: bool


@dataclass
class Nest:
    """One walk over `space`, whose last `folded` axes are the columns (0: nothing is folded)."""

    space: Shape
    folded: int
    stage: int
    folds: dict[int, int] = field(default_factory=dict)  # reduction -> pass
    stores: list[Store] = field(default_factory=list)
    kept: dict[Value, tuple[str, int]] = field(default_factory=dict)  # -> ('out'|'scratch', i)

    @property
    def full(self) -> Index:
        """The index of a value of the nest's whole space."""
        return full_index(self.space)

    @property
    def rows(self) -> Index:
        """The index of a folded value."""
        return self.full[: len(self.space) - self.folded] if self.folded else ()

    @property
    def passes(self) -> int:
        """How often it walks the columns."""
        times = [*self.folds.values(), *(s.time for s in self.stores if s.per_element)]
        return 1 + max(times, default=0)

    def is_element(self, index: Index) -> bool:
        """Say whether a value changes along the columns."""
        first = len(self.space) - self.folded if self.folded else 0
        return any(axis is not None and axis >= first for axis in index)

    def has(self, graph: Graph, value: Value) -> bool:
        """Say whether a folded value is this nest's own, for its current row."""
        node = graph.nodes[value[0]]
        same = node.operands and _key(graph, node) == (self.space, self.folded)
        return bool(same) and value[0] in self.folds and value[1] == self.rows

    def roots(self, graph: Graph, time: int) -> list[Value]:
        """Return the elements that pass `time` folds or stores."""
        folded = [
            (graph.nodes[r].operands[0], self.full) for r, t in self.folds.items() if t == time
        ]
        stored = [s.value for s in self.stores if s.per_element and s.time == time]
        return folded + stored

    def ready(self, graph: Graph, value: Value) -> int:
        """Return the first pass that can use a value: the one after its folds."""
        folds = [self.folds[v[0]] for v in walk(graph, value) if self.has(graph, v)]
        return 1 + max(folds) if folds else 0


def walk(graph: Graph, value: Value) -> Iterator[Value]:
    """Yield a value and all it is made of, down to leaves and folded values."""
    seen, waiting = {value}, [value]
    while waiting:
        here = waiting.pop()
        yield here
        node = graph.nodes[here[0]]
        if node.op in LEAVES or is_reduction(node):
            continue
        for inner in operand_values(graph, here):
            if inner not in seen:
                seen.add(inner)
                waiting.append(inner)


def folds_in(graph: Graph, value: Value) -> list[Value]:
    """Return the folded values that a value is made of."""
    return [v for v in walk(graph, value) if is_reduction(graph.nodes[v[0]])]


def _key(graph: Graph, node: Node) -> Key:
    return graph.nodes[node.operands[0]].shape, node.value


class Scheduler:
    """Places reductions, then results, in nests."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nests: list[Nest] = []
        self.home: dict[int, Nest] = {}

    def run(self) -> list[Nest]:
        """Return the nests in the order in which they must run."""
        for place, node in enumerate(self.graph.nodes):
            if is_reduction(node):
                self._place_reduction(place, node)
        for number, place in enumerate(self.graph.outputs):
            self._place_output(number, place)
        self.nests.sort(key=lambda nest: nest.stage)
        for nest in self.nests:
            self._settle(nest)
        for nest in self.nests:
            self._store_what_others_read(nest)
            _keep(self.graph, nest)
        return self.nests

    def _nest(self, key: Key, stage: int) -> Nest:
        for nest in self.nests:
            if (nest.space, nest.folded) == key and nest.stage == stage:
                return nest
        self.nests.append(Nest(*key, stage))
        return self.nests[-1]

    def _place_reduction(self, place: int, node: Node) -> None:
        space, axes = _key(self.graph, node)
        trial = Nest(space, axes, 0)
        value = (node.operands[0], trial.full)
        stage, inside = 0, []
        for fold in folds_in(self.graph, value):
            home = self.home[fold[0]]
            aligned = (home.space, home.folded) == (space, axes) and home.has(self.graph, fold)
            stage = max(stage, home.stage + (0 if aligned else 1))
            inside += [fold] if aligned else []
        nest = self._nest((space, axes), stage)
        waits = [nest.folds[f[0]] for f in inside if f[0] in nest.folds]
        nest.folds[place] = 1 + max(waits, default=-1)
        self.home[place] = nest

    def _fits(self, nest: Nest, value: Value) -> bool:
        folds = folds_in(self.graph, value)
        return all(nest.has(self.graph, f) or self.home[f[0]].stage < nest.stage for f in folds)

    def _place_output(self, number: int, place: int) -> None:
        shape = self.graph.nodes[place].shape
        for nest in sorted(self.nests, key=lambda n: -n.stage):
            rank = len(nest.space) - nest.folded
            row = nest.folded and shape in (
                nest.space[:rank],
                nest.space[:rank] + (1,) * nest.folded,
            )
            if nest.space != shape and not row:
                continue
            value = (place, full_index(shape))
            if self._fits(nest, value) and (row or self._worth(nest, value)):
                per_element = nest.is_element(value[1]) or not nest.folded
                nest.stores.append(Store(value, ("out", number), -1, per_element))
                return
        value = (place, full_index(shape))
        stages = [1 + self.home[f[0]].stage for f in folds_in(self.graph, value)]
        nest = self._nest((shape, 0), max(stages, default=0))
        nest.stores.append(Store(value, ("out", number), -1, True))

    def _worth(self, nest: Nest, value: Value) -> bool:
        """Say whether a result belongs to a nest: it uses its folds, or nothing was folded."""
        return (
            not nest.folded
            or any(nest.has(self.graph, f) for f in walk(self.graph, value))
            or (not folds_in(self.graph, value))
        )

    def _settle(self, nest: Nest) -> None:
        """Give stores their passes: an element once its folds are known, a row value after."""
        settled = []
        for store in nest.stores:
            ready = nest.ready(self.graph, store.value)
            time = ready if store.per_element else max(ready - 1, 0)
            settled.append(Store(store.value, store.target, time, store.per_element))
        nest.stores = settled

    def _store_what_others_read(self, nest: Nest) -> None:
        for time in range(nest.passes):
            for root in nest.roots(self.graph, time):
                self._store_folds(nest, root)
        for store in nest.stores:
            self._store_folds(nest, store.value)

    def _store_folds(self, reader: Nest, value: Value) -> None:
        for fold in folds_in(self.graph, value):
            home = self.home[fold[0]]
            known = {s.target for s in home.stores}
            if reader.has(self.graph, fold) or ("temp", fold[0]) in known:
                continue
            target = ("temp", fold[0])
            home.stores.append(Store((fold[0], home.rows), target, home.folds[fold[0]], False))


def is_heavy(graph: Graph, nest: Nest, value: Value) -> bool:
    """Say whether an element costs more to compute again than to read back."""
    return any(
        OPERATIONS[node.op].heavy
        for v in walk(graph, value)
        if (node := graph.nodes[v[0]]).op in OPERATIONS and nest.is_element(v[1])
    )


def _columns(nest: Nest, index: Index) -> bool:
    first = len(nest.space) - nest.folded
    return set(nest.full[first:]) - {None} <= set(index)


def _keep(graph: Graph, nest: Nest) -> None:
    """Choose the elements that a pass leaves for later ones, in a result's row or a scratch row."""
    done: set[Value] = set()
    last_use: dict[Value, int] = {}
    for time in range(nest.passes):
        for root in nest.roots(graph, time):
            for value in _reads_again(graph, nest, root, done):
                last_use[value] = time
        for root in nest.roots(graph, time):
            done.update(v for v in walk(graph, root) if nest.is_element(v[1]))
    for place in nest.folds:
        node = graph.nodes[place]
        operand = (node.operands[0], nest.full)
        # NOTE: computed twice, a value may differ in its last bit, and would not be found again.
        if REDUCTIONS[node.op].argument and graph.nodes[operand[0]].op != "input":
            # It is looked for after the pass: a result of that very pass is no room for it.
            last_use[operand] = max(last_use.get(operand, 0), nest.folds[place] + 1)
    _give_room(graph, nest, last_use)


def _reads_again(graph: Graph, nest: Nest, value: Value, done: set[Value]) -> Iterator[Value]:
    node = graph.nodes[value[0]]
    if node.op in LEAVES or is_reduction(node) or not nest.is_element(value[1]):
        return
    if value in done and is_heavy(graph, nest, value) and _columns(nest, value[1]):
        yield value
        return
    for inner in operand_values(graph, value):
        yield from _reads_again(graph, nest, inner, done)


def _give_room(graph: Graph, nest: Nest, last_use: dict[Value, int]) -> None:
    free = [s for s in nest.stores if s.per_element and s.target[0] == "out"]
    for value, last in last_use.items():
        dtype = graph.nodes[value[0]].dtype
        own = [s for s in free if s.value == value]
        fits = own or [
            s
            for s in free
            if s.time >= last
            and value[1] == s.value[1]
            and graph.nodes[s.value[0]].dtype == dtype
            and s.value not in last_use
        ]
        if fits:
            nest.kept[value] = fits[0].target
            free.remove(fits[0])
        else:
            nest.kept[value] = ("scratch", len(nest.kept))


def _walk_until(graph: Graph, value: Value, stop: set[Value]) -> Iterator[Value]:
    yield value
    node = graph.nodes[value[0]]
    if value not in stop and node.op not in LEAVES and not is_reduction(node):
        for inner in operand_values(graph, value):
            yield from _walk_until(graph, inner, stop)


def late_reads(graph: Graph, nests: list[Nest]) -> frozenset[tuple[int, int]]:
    """Return pairs (result, input) that may not be one array: the input is read after the write."""
    writes: dict[int, tuple[int, int, Index]] = {}
    reads: list[tuple[int, int, Index, int]] = []
    for number, nest in enumerate(nests):
        done: set[Value] = set()
        for time in range(nest.passes):
            roots = nest.roots(graph, time)
            roots += [s.value for s in nest.stores if not s.per_element and s.time == time]
            seen = {v for root in roots for v in _walk_until(graph, root, done)}
            for place, index in seen:
                if graph.nodes[place].op == "input":
                    reads.append((number, time, index, graph.nodes[place].value))
            for value in seen & set(nest.kept):
                done.add(value)
                if nest.kept[value][0] == "out":
                    writes.setdefault(nest.kept[value][1], (number, time, value[1]))
            for store in nest.stores:
                if store.time == time and store.target[0] == "out":
                    writes.setdefault(store.target[1], (number, time, store.value[1]))
    late = set()
    for result, (number, time, index) in writes.items():
        for nest_number, read_time, read_index, argument in reads:
            after = (nest_number, read_time) > (number, time)
            elsewhere = nest_number == number and read_index != index
            if after or elsewhere:
                late.add((result, argument))
    return frozenset(late)
