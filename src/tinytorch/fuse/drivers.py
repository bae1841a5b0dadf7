"""Put the nests of a graph together into one file: their functions, and the two that run them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from tinytorch.fuse.emit import BLOCK, INDENT, VAST_BLOCK, NestWriter, Walk
from tinytorch.fuse.ir import Graph, is_reduction
from tinytorch.fuse.pairs import assigned, in_pairs, rows_loop
from tinytorch.fuse.schedule import Nest
from tinytorch.fuse.variant import Program, Variant, type_name

_HEADER = '''"""Fused from `{title}`; written by tinytorch.fuse, named by a hash of its content."""

import math

import numpy as np

from tinytorch.fuse import loops, trig
from tinytorch.native import vmath
from tinytorch.native.codecache import jit, prange
'''
_HASH = "HASH"
Lines = list[list[str]]


@dataclass(frozen=True)
class Emitted:
    """A file's text, its hash, and the arguments of `serial_<hash>` and `parallel_<hash>`.

    takes: names, in order: arrays, then numbers `p0`, `n0` ..., then the number of shares.
    extents: for each `n`, the sizes whose product it is.
    """

    source: str
    digest: str
    takes: tuple[str, ...]
    extents: dict[str, tuple[str, ...]]


def _indented(lines: list[str], depth: int = 1) -> list[str]:
    return [INDENT * depth + line for line in lines]


def _function(name: str, takes: list[str], body: list[str], mark: str = "flags=frozenset()") -> str:
    return "\n".join([f"@jit({mark})", f"def {name}({', '.join(takes)}):", *_indented(body)])


class _Assembler:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.functions: list[str] = []
        self.driver: list[str] = []

    def names_in(self, lines: list[str], own: frozenset[str] = frozenset()) -> list[str]:
        """Return the outer names that some lines use, in order: arrays, numbers, sizes."""
        used = dict.fromkeys(re.findall(r"[A-Za-z_]\w*", "\n".join(lines)))
        program = self.program
        arrays = [a for a in program.scopes if a in used and a not in own]
        numbers = [u for u in used if re.fullmatch(r"[pnrv]\d+x*|best\d+|[ij]\d+", u)]
        return arrays + sorted((u for u in numbers if u not in own), key=_by_number)

    def add(self, number: int) -> None:
        """Write one nest and the lines that run it."""
        writer = NestWriter(self.program, number)
        passes = [writer.walk_columns(time) for time in range(writer.nest.passes)]
        after = [writer.after(time) for time in range(writer.nest.passes)]
        finish = [writer.finish(time) for time in range(writer.nest.passes)]
        if writer.blocks or not writer.rows:
            self._blocks(writer, passes, after, finish)
        else:
            self._rows(writer, passes, after, finish)

    def _scratch(self, writer: NestWriter) -> list[str]:
        size = " * ".join(writer.extent(group) if group else "1" for group in writer.columns)
        return [
            f"s{writer.number}_{room[1]} = "
            f"np.empty({size}, {type_name(self.program.graph.nodes[value[0]].dtype)})"
            for value, room in writer.kept.items()
            if room[0] == "scratch"
        ]

    def _each_row(self, writer: NestWriter, body: list[str], first: str, last: str) -> list[str]:
        """Return a loop over rows, with the row's index in each group of axes."""
        groups = writer.rows
        lines: list[str] = []
        if not groups:
            return body
        if len(groups) == 1:
            name = writer.variable[groups[0]]
        else:
            name = rest = "row"
            for group in groups[:0:-1]:
                lines.append(f"{writer.variable[group]} = {rest} % {writer.extent(group)}")
                lines.append(f"rest = {rest} // {writer.extent(group)}")
                rest = "rest"
            lines.append(f"{writer.variable[groups[0]]} = rest")
        return [f"for {name} in range({first}, {last}):", *_indented(lines + body)]

    def _rows(self, writer: NestWriter, passes: list[Walk], after: Lines, finish: Lines) -> None:
        lines = list(writer.row[0])
        walks = [time for time, walked in enumerate(passes) if walked.body]
        for time, walked in enumerate(passes):
            if walked.body:
                lines += writer.start(time)
                if time in walks[1:2]:
                    lines += writer.in_turns(walked)
                else:
                    lines += walked.loops(writer, "0", writer.extent(writer.columns[0]))
            lines += finish[time] + writer.row[time + 1] + after[time]
        body = writer.head + self._scratch(writer)
        if in_pairs(writer, passes[0]):
            before, end = writer.row[0] + writer.start(0), writer.row[1] + after[0]
            body += rows_loop(writer, before, passes[0].body, end, assigned(lines))
        else:
            body += self._each_row(writer, lines, "first", "last")
        body += ["loops.settle()"] if any(walked.streamed for walked in passes) else []
        own = assigned(body)
        takes = self.names_in(body, own)
        name = f"rows{writer.number}_{_HASH}"
        self.functions.append(_function(name, [*takes, "first", "last"], body))
        count = f"rows{writer.number}"
        sizes = " * ".join(writer.extent(group) for group in writer.rows)
        self.driver += [
            f"{count} = {sizes}",
            "for share in prange(shares):",
            f"    {name}({', '.join(takes)}, share * {count} // shares, "
            f"(share + 1) * {count} // shares)",
        ]

    def _blocks(self, writer: NestWriter, passes: list[Walk], after: Lines, finish: Lines) -> None:
        outer = writer.extent(writer.columns[0]) if writer.columns[0] else "1"
        inner = " * ".join(writer.extent(group) for group in writer.columns[1:])
        vast = self.program.variant.vast and not writer.nest.folds
        block = VAST_BLOCK if vast else BLOCK
        size = f"max(1, {block} // ({inner}))" if inner else str(block)
        lines = list(writer.row[0])
        for time, walked in enumerate(passes):
            if walked.body:
                lines += self._pass(writer, time, walked, outer)
            lines += finish[time] + writer.row[time + 1] + after[time]
        start = [f"size{writer.number} = {size}"]
        start += [
            f"blocks{writer.number} = ({outer} + size{writer.number} - 1) // size{writer.number}"
        ]
        rows = " * ".join(writer.extent(group) for group in writer.rows)
        self.driver += writer.head + self._scratch(writer) + start
        self.driver += self._each_row(writer, lines, "0", rows)

    def _pass(self, writer: NestWriter, time: int, walked: Walk, outer: str) -> list[str]:
        n, folds = writer.number, walked.folds
        inside = writer.start(time) + walked.loops(writer, "first", "last")
        inside += ["loops.settle()"] if walked.streamed else []
        inside += [f"return {', '.join(folds)}"] if folds else []
        takes = self.names_in(inside, assigned(inside))
        name = f"pass{n}_{time}_{_HASH}"
        self.functions.append(_function(name, [*takes, "first", "last"], inside))
        call = (
            f"{name}({', '.join(takes)}, block * size{n}, min({outer}, block * size{n} + size{n}))"
        )
        if not folds:
            return [f"for block in prange(blocks{n}):", INDENT + call]
        places = [r for r, t in writer.nest.folds.items() if t == time]
        dtypes = [writer.graph.nodes[writer.graph.nodes[r].operands[0]].dtype for r in places]
        lines = [
            f"part{r} = np.empty(blocks{n}, {type_name(d)})"
            for r, d in zip(places, dtypes, strict=True)
        ]
        lines += [
            f"for block in prange(blocks{n}):",
            f"{INDENT}{', '.join(f'one{r}' for r in places)} = {call}",
            *(f"{INDENT}part{r}[block] = one{r}" for r in places),
        ]
        lines += writer.start(time)
        return [*lines, f"for block in range(blocks{n}):", *_indented(writer.combine(time, "part"))]


def _by_number(name: str) -> tuple[str, int]:
    letters = re.match(r"[a-z]+", name)
    assert letters
    digits = re.search(r"\d+", name)
    assert digits
    return letters[0], int(digits[0])


def emit(
    graph: Graph,
    arrays: tuple[int, ...],
    nests: list[Nest],
    variant: Variant,
    names: tuple[str, ...],
    title: str,
) -> Emitted:
    """Return the file that computes a graph. `arrays` are the array arguments' places and `names`
    their names."""
    program = Program(graph, arrays, nests, variant, names)
    assembler = _Assembler(program)
    temps = []
    for place, name in program.temps.items():
        node = graph.nodes[place]
        inner = graph.nodes[node.operands[0]].shape
        dims = tuple(str(d) for d in inner[: len(inner) - node.value] if d != 1)
        temps.append(f"{name} = np.empty({program.extent(dims)}, {type_name(node.dtype)})")
        assert is_reduction(node)
    for number in range(len(nests)):
        assembler.add(number)
    body = temps + assembler.driver
    own = assigned(body)
    takes = [n for n in assembler.names_in(body, own) if not n.startswith(("i", "j")) or n in names]
    takes.append("shares")
    serial = [line.replace("prange(", "range(") for line in body]
    parts = [_HEADER.format(title=title), *assembler.functions]
    parts.append(_function(f"serial_{_HASH}", takes, serial))
    parts.append(_function(f"parallel_{_HASH}", takes, body, "parallel=True, flags=frozenset()"))
    text = "\n\n".join(parts) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    extents = {name: dims for dims, name in program.extents.items()}
    return Emitted(text.replace(_HASH, digest), digest, tuple(takes), extents)
