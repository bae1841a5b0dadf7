"""Write a scheduled graph as Python that Numba compiles: one file, named by its content.

Each nest becomes a function over rows (`first` ... `last`), or, where there are no rows to share or
too few, one function a pass over blocks of columns, whose partial folds are combined in order: the
blocks do not depend on the number of threads, and so neither does the result.
"""

from __future__ import annotations

from dataclasses import dataclass

from tinytorch.fuse import streams
from tinytorch.fuse.ir import Node, is_reduction
from tinytorch.fuse.schedule import Index, Store, Value, is_heavy, operand_values, walk
from tinytorch.fuse.table import LIMITED, OPERATIONS, REDUCTIONS, identity
from tinytorch.fuse.variant import Program, literal, type_name

BLOCK = 16_384  # columns that one task folds or writes
VAST_BLOCK = 65_536  # where arrays fill the last cache: two places in it are far apart
TOGETHER = 4  # vectors whose chains of operations overlap, where the chains are long
TURN = 512  # columns, between wishes for as many of the next row
INDENT = "    "


@dataclass(frozen=True)
class Walk:
    """One pass over the columns: the statements for an element, and the names of what they fold.

    `check` sets `beyond` where an element is outside of what the body holds for; `careful` is the
    body that holds for all. `heavy`: the elements take a function's polynomial. `streamed`: the
    result that goes past the caches, and the body that sends it.
    """

    body: list[str]
    folds: list[str]
    check: list[str]
    careful: list[str]
    heavy: bool
    streamed: tuple[Store, list[str]] | None = None

    def loops(self, writer: NestWriter, first: str, last: str) -> list[str]:
        """Return the loops over the columns."""
        if self.streamed:
            store, stream = self.streamed
            far = not (writer.rows or self.heavy)
            return streams.columns_loops(writer, store, (self.body, stream), (first, last), far)
        told = [f"loops.interleave({TOGETHER})"] if self.heavy else []
        fast = writer.columns_loop(told + self.body, first, last)
        if not self.check:
            return fast
        slow = writer.columns_loop(self.careful, first, last)
        return [
            "beyond = False",
            *writer.columns_loop(self.check, first, last),
            "if beyond:",
            *(INDENT + line for line in slow),
            "else:",
            *(INDENT + line for line in fast),
        ]


class NestWriter:
    """Writes one nest."""

    def __init__(self, program: Program, number: int) -> None:
        self.program, self.number = program, number
        self.graph, self.nest = program.graph, program.nests[number]
        self.blocks = program.variant.blocks[number]
        self.fixed: dict[Value, str] = {}  # known for the row, or for the nest
        self.head: list[str] = []
        self.row: list[list[str]] = [[] for _ in range(self.nest.passes + 1)]
        self.accesses = self._accesses()
        self._group_axes()
        self.local: dict[Value, str] = {}
        self.body: list[str] = []
        self.kept_now: set[Value] = set()
        self.careful = False
        self.streamed: Store | None = None  # what is being written past the caches
        self.kept = streams.kept(self)  # where values are kept
        self.limited: list[Value] = []  # operands of what holds for moderate values only

    # ------------------------------------------------------------------------- axes

    def _accesses(self) -> list[tuple[str, Index]]:
        """Return every array that the nest touches, with its index."""
        graph = self.graph
        found: dict[tuple[str, Index], None] = {}
        values = [s.value for s in self.nest.stores]
        values += [r for t in range(self.nest.passes) for r in self.nest.roots(graph, t)]
        for root in values:
            for value in walk(graph, root):
                node = graph.nodes[value[0]]
                if node.op == "input":
                    found[self.program.input_name(node.value), value[1]] = None
                elif value[0] in self.program.temps and not self.nest.has(graph, value):
                    found[self.program.temps[value[0]], value[1]] = None
        for store in self.nest.stores:
            kind, place = store.target
            if kind == "out" or place in self.program.temps:
                name = f"out{place}" if kind == "out" else self.program.temps[place]
                found[name, store.value[1]] = None
        return list(found)

    def _group_axes(self) -> None:
        """Merge neighbouring axes that every array walks without a gap between them."""
        nest = self.nest
        real = [axis for axis in nest.full if axis is not None]
        split = len(nest.space) - nest.folded if nest.folded else len(nest.space)
        rows = self._merged([a for a in real if a < split])
        if nest.folded:
            columns = self._merged([a for a in real if a >= split])
        else:
            columns, rows = rows[-1:], rows[:-1]
        self.rows, self.columns = rows, columns or [()]
        groups = [*self.rows, *self.columns]
        self.group_of = {axis: group for group in groups for axis in group}
        self.variable = {g: f"i{n}" for n, g in enumerate(self.rows)}
        self.variable |= {g: f"j{n}" for n, g in enumerate(self.columns)}

    def _merged(self, axes: list[int]) -> list[tuple[int, ...]]:
        groups: list[tuple[int, ...]] = []
        for axis in axes:
            if groups and self._mergeable(groups[-1][-1], axis):
                groups[-1] += (axis,)
            else:
                groups.append((axis,))
        return groups

    def _mergeable(self, a: int, b: int) -> bool:
        for name, index in self.accesses:
            inside = (a in index, b in index)
            if inside != (False, False) and (
                self.program.layout(name) != "C" or inside != (True, True)
            ):
                return False
        return True

    def extent(self, group: tuple[int, ...]) -> str:
        """Return the name of how far a group of axes goes."""
        return self.program.extent(tuple(str(self.nest.space[axis]) for axis in group))

    def _flat(self, index: Index) -> str:
        """Return the place of an element in a gapless array."""
        text = ""
        for group in dict.fromkeys(self.group_of[a] for a in index if a is not None):
            name = self.variable[group]
            text = f"({text}) * {self.extent(group)} + {name}" if text else name
        return text or "0"

    def at(self, name: str, index: Index) -> str:
        """Return the place of an element, as loads and stores take it."""
        layout = self.program.layout(name)
        if layout == "C":
            return f"({self._flat(index)},)"
        places = ["0" if a is None else self.variable[self.group_of[a]] for a in index]
        return f"({', '.join(places)},)"

    def _scope(self, name: str) -> str:
        unit = self.program.layout(name) != "strided"
        return f"{unit}, {self.program.scopes.index(name)}, {len(self.program.scopes)}"

    def load(self, name: str, index: Index) -> str:
        """Return the expression that reads an element."""
        return f"loops.load({name}, {self.at(name, index)}, {self._scope(name)})"

    def store(self, name: str, index: Index, value: str) -> str:
        """Return the statement that writes an element."""
        how = "stream" if self.streamed and name == f"out{self.streamed.target[1]}" else "store"
        return f"loops.{how}({name}, {self.at(name, index)}, {value}, {self._scope(name)})"

    # ------------------------------------------------------------------------- values

    def value(self, value: Value) -> str:
        """Return an expression for a value, having written the statements that it needs."""
        node = self.graph.nodes[value[0]]
        if node.op == "const":
            return literal(node.value, node.dtype)
        if node.op == "param":
            return f"p{node.value}"
        if node.op in ("expand", "squeeze"):
            return self.value(operand_values(self.graph, value)[0])
        if is_reduction(node):
            if self.nest.has(self.graph, value):
                return f"r{value[0]}"
            if value[0] in self.program.scalars:
                return self.program.scalars[value[0]]
        if value in self.kept_now and value not in self.local:
            self._define(value, self.load(*self._room(value)))
        known = self.local.get(value) or self.fixed.get(value)
        return known or self._define(value, self._expression(value, node))

    def _expression(self, value: Value, node: Node) -> str:
        if node.op == "input":
            return self.load(self.program.input_name(node.value), value[1])
        if is_reduction(node):
            return self.load(self.program.temps[value[0]], value[1])
        operands = [self.value(v) for v in operand_values(self.graph, value)]
        if node.op == "cast":
            seen = self.graph.nodes[node.operands[0]].dtype
            if node.dtype.kind == "b":
                return f"{operands[0]} != {literal(0, seen)}"
            return f"{type_name(node.dtype)}({operands[0]})"
        seen = self.graph.nodes[node.operands[-1]].dtype
        source = OPERATIONS[node.op].sources[seen.kind]
        if node.op in LIMITED:
            if self.careful or not self._in_columns(value[1]):
                source = LIMITED[node.op]
            else:
                self.limited += operand_values(self.graph, value)
        return source.format(*operands, s=type_name(seen), t=type_name(node.dtype))

    def _define(self, value: Value, expression: str) -> str:
        name = f"v{value[0]}"
        taken = [*self.local.values(), *self.fixed.values()]
        while name in taken:
            name += "x"
        if self._in_columns(value[1]):
            self.local[value] = name
            self.body.append(f"{name} = {expression}")
            return name
        self.fixed[value] = name
        in_row = any(a is not None for a in value[1]) or self.nest.ready(self.graph, value)
        where = self.row[self.nest.ready(self.graph, value)] if in_row else self.head
        where.append(f"{name} = {expression}")
        return name

    def _in_columns(self, index: Index) -> bool:
        return any(axis in group for group in self.columns for axis in index)

    def _room(self, value: Value) -> tuple[str, Index]:
        """Return the array that keeps a value for later passes, and the index there."""
        kind, place = self.kept[value]
        if kind == "out":
            return f"out{place}", value[1]
        columns = {axis for group in self.columns for axis in group}
        return f"s{self.number}_{place}", tuple(a for a in value[1] if a in columns)

    # ------------------------------------------------------------------------- passes

    def walk_columns(self, time: int) -> Walk:
        """Write one pass."""
        kept, self.limited = set(self.kept_now), []
        body, folds = self.pass_body(time)
        after, self.kept_now = self.kept_now, kept
        check: list[str] = []
        careful: list[str] = []
        if self.limited:
            self.local, self.body = {}, []
            tests = [
                f"beyond = loops.either(beyond, abs({name}) > trig.limit({name}))"
                for name in map(self.value, dict.fromkeys(self.limited))
            ]
            check = self.body + tests
            self.careful = True
            careful, _ = self.pass_body(time)
            self.careful = False
        stream: tuple[Store, list[str]] | None = None
        self.streamed = streams.streamed(self, time)
        if self.streamed:
            self.kept_now = set(kept)
            stream = self.streamed, self.pass_body(time)[0]
            self.streamed = None
        self.kept_now = after
        heavy = any(
            is_heavy(self.graph, self.nest, root) for root in self.nest.roots(self.graph, time)
        )
        return Walk(body, folds, check, careful, heavy, stream)

    def pass_body(self, time: int) -> tuple[list[str], list[str]]:
        """Return the statements for one element of a pass, and the names of what it folds."""
        self.local, self.body = {}, []
        nest, graph = self.nest, self.graph
        folds = [r for r, t in nest.folds.items() if t == time]
        stores = []
        for store in nest.stores:
            if store.per_element and store.time == time:
                name = f"out{store.target[1]}"
                if self.kept.get(store.value) != store.target:
                    stores.append(self.store(name, store.value[1], self.value(store.value)))
                else:
                    self.value(store.value)
        steps = []
        for fold in folds:
            node = graph.nodes[fold]
            operand = (node.operands[0], nest.full)
            kind = graph.nodes[operand[0]].dtype
            way = REDUCTIONS[node.op].argument or node.op
            step = REDUCTIONS[way].steps[kind.kind]
            total = f"r{fold}" if way == node.op else f"best{fold}"
            element = self.value(operand)
            steps.append(f"{total} = {step.format(total, element, t=type_name(kind))}")
        for value in self.kept:
            if value in self.local and value not in self.kept_now:
                stores.append(self.store(*self._room(value), self.local[value]))
                self.kept_now.add(value)
        return self.body + steps + stores, [self._total(r) for r in folds]

    def _total(self, fold: int) -> str:
        return f"best{fold}" if REDUCTIONS[self.graph.nodes[fold].op].argument else f"r{fold}"

    def start(self, time: int) -> list[str]:
        """Return the statements that start a pass's folds."""
        lines = []
        for fold in (r for r, t in self.nest.folds.items() if t == time):
            node = self.graph.nodes[fold]
            kind = self.graph.nodes[node.operands[0]].dtype
            first = literal(identity(node.op, kind), kind)
            lines.append(f"{self._total(fold)} = {first}")
        return lines

    def combine(self, time: int, partial: str) -> list[str]:
        """Return the statements that fold one block's partial results into the totals."""
        lines = []
        for fold in (r for r, t in self.nest.folds.items() if t == time):
            node = self.graph.nodes[fold]
            kind = self.graph.nodes[node.operands[0]].dtype
            step = REDUCTIONS[REDUCTIONS[node.op].argument or node.op].steps[kind.kind]
            total = self._total(fold)
            element = f"{partial}{fold}[block]"
            lines.append(f"{total} = {step.format(total, element, t=type_name(kind))}")
        return lines

    def finish(self, time: int) -> list[str]:
        """Return the statements that look for where the winners of a pass are."""
        lines: list[str] = []
        for fold in (r for r, t in self.nest.folds.items() if t == time):
            node = self.graph.nodes[fold]
            if REDUCTIONS[node.op].argument:
                lines += self._search(fold, (node.operands[0], self.nest.full))
        return lines

    def _search(self, fold: int, operand: Value) -> list[str]:
        # NOTE: the first NaN wins, as in NumPy; `best` is NaN if there is one.
        self.local, self.body = {}, []
        element = self.value(operand)
        best = f"best{fold}"
        kind = self.graph.nodes[operand[0]].dtype.kind
        odd = f" or {element} != {element}" if kind == "f" else ""
        lines = [f"r{fold} = -1"]
        depth = ""
        for group in self.columns:
            name = self.variable[group]
            lines.append(f"{depth}for {name} in range({self.extent(group)}):")
            depth += INDENT
        place = self._flat(tuple(a for g in self.columns for a in g))
        lines += [depth + line for line in self.body]
        lines += [f"{depth}if {element} == {best}{odd}:", f"{depth}{INDENT}r{fold} = {place}"]
        lines += [f"{depth}{INDENT}break"]
        for _ in self.columns[1:]:
            depth = depth.removesuffix(INDENT)
            lines += [f"{depth}if r{fold} >= 0:", f"{depth}{INDENT}break"]
        return lines

    def columns_loop(self, body: list[str], first: str, last: str) -> list[str]:
        """Return the loops over columns, the outermost from `first` to `last`."""
        lines, depth = [], ""
        for n, group in enumerate(self.columns):
            span = f"{first}, {last}" if n == 0 else self.extent(group)
            lines.append(f"{depth}for {self.variable[group]} in range({span}):")
            depth += INDENT
        return lines + [depth + line for line in body]

    def in_turns(self, walked: Walk) -> list[str]:
        """Return the loops of a pass over a row that is in the cache, and that has the gapless
        inputs' next row on its way meanwhile.

        A pass that reads from memory waits for it, one that computes does not use it: so they
        take as long as both together, unless the one does the other's waiting.
        """
        if len(self.rows) != 1 or len(self.columns) != 1 or not self.columns[0]:
            return walked.loops(self, "0", self.extent(self.columns[0]))
        outputs = {f"out{s.target[1]}" for s in self.nest.stores if s.target[0] == "out"}
        width, row = self.extent(self.columns[0]), self.variable[self.rows[0]]
        wishes = [
            f"loops.prefetch({name}, ({row} + 1) * {width} + turn, min({TURN}, {width} - turn))"
            for name, index in self.accesses
            if index == self.nest.full and name not in outputs and self.program.layout(name) == "C"
        ]
        if not wishes:
            return walked.loops(self, "0", width)
        turn = wishes + walked.loops(self, "turn", f"min({width}, turn + {TURN})")
        return [f"for turn in range(0, {width}, {TURN}):", *(INDENT + line for line in turn)]

    def after(self, time: int) -> list[str]:
        """Return the stores of what is known once a pass is over."""
        lines = []
        for store in self.nest.stores:
            if store.per_element or store.time != time:
                continue
            kind, place = store.target
            if kind == "temp" and place in self.program.scalars:
                continue
            name = f"out{place}" if kind == "out" else self.program.temps[place]
            lines.append(self.store(name, store.value[1], self.value(store.value)))
        return lines
