"""Results that are written past the caches: which, and by which loops.

A store first reads the line that it changes, and that line pushes another one out of the cache.
Where a call's arrays fill the last cache, little of a result is left there for whoever reads it
next; so whole lines of it go straight to memory: one transfer where there were two, and no waiting
for a line to come. What that costs: who reads the result at once finds none of it in the cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinytorch.fuse.pairs import assigned, both
from tinytorch.fuse.schedule import Nest, Store, Value, walk
from tinytorch.fuse.table import LIMITED, OPERATIONS

if TYPE_CHECKING:
    from tinytorch.fuse.emit import NestWriter

TOGETHER = 4  # vectors: whole lines, whatever the width
# Elements: what any number of vectors that LLVM works on at once divides.
_WHOLE = 64
_WIDTHS = (4, 8)  # bytes an element, of which there are such stores
# Of exp's kind, an element; with more of them, computing takes longer than memory.
_MOST_FUNCTIONS = 1


def streamed(writer: NestWriter, time: int) -> Store | None:
    """Return the result that a pass writes past the caches, if there is one.

    It lies without gaps, is no input's own memory, and the pass folds nothing: where lines begin,
    and with that the order in which elements are met, depends on the result's address.
    """
    nest, program = writer.nest, writer.program
    if not program.variant.vast or len(writer.columns) != 1 or not writer.columns[0]:
        return None
    found = [
        s
        for s in nest.stores
        if s.per_element and s.time == time and nest.kept.get(s.value) != s.target
    ]
    if len(found) != 1 or time in nest.folds.values():
        return None
    number = found[0].target[1]
    node = program.graph.nodes[found[0].value[0]]
    plain = (
        found[0].value[1] == nest.full
        and program.layout(f"out{number}") == "C"
        and number not in program.variant.alias
        and node.dtype.itemsize in _WIDTHS
    )
    return found[0] if plain and _is_light(writer, nest, found[0]) else None


def _is_light(writer: NestWriter, nest: Nest, store: Store) -> bool:
    """Say whether an element takes so little that its time is memory's."""
    graph = writer.graph
    names = [graph.nodes[v[0]].op for v in walk(graph, store.value) if nest.is_element(v[1])]
    functions = [n for n in names if n in OPERATIONS and OPERATIONS[n].heavy]
    return len(functions) <= _MOST_FUNCTIONS and not set(names) & set(LIMITED)


def kept(writer: NestWriter) -> dict[Value, tuple[str, int]]:
    """Return where a nest keeps values: not in a result that goes past the caches later."""
    found = dict(writer.nest.kept)
    for number, (value, room) in enumerate(writer.nest.kept.items()):
        for store in writer.nest.stores:
            late = store.target == room and store.value != value
            if late and streamed(writer, store.time) == store:
                found[value] = ("scratch", number)
    return found


def columns_loops(
    writer: NestWriter,
    store: Store,
    bodies: tuple[list[str], list[str]],
    span: tuple[str, str],
    far: bool,
) -> list[str]:
    """Return the loops over columns: `bodies[1]` writes whole lines, `bodies[0]` what is left of
    lines before and after them. `far`: whole lines in two places at once."""
    (plain, stream), (first, last) = bodies, span
    column = writer.variable[writer.columns[0]]
    begin = writer.at(f"out{store.target[1]}", store.value[1])
    ends = writer.columns_loop(
        plain, f"{first} if edge == 0 else end", f"middle if edge == 0 else {last}"
    )
    whole = writer.columns_loop([f"loops.interleave({TOGETHER})", *stream], "middle", "end")
    if far:
        two = both(stream, {column, *assigned(stream)})
        told = [f"loops.interleave({TOGETHER // 2})", f"{column}_far = {column} + half"]
        whole = ["half = (end - middle) // 2"]
        whole += writer.columns_loop(told + two, "middle", "middle + half")
    return [
        f"{column} = {first}",
        f"middle = {first} + loops.lead(out{store.target[1]}, {begin}, {last} - {first})",
        f"end = middle + (({last} - middle) & -{_WHOLE * (2 if far else 1)})",
        *whole,
        "for edge in range(2):",
        *("    " + line for line in ends),
    ]
