"""The register tile: int32 sums of a few rows by two vectors of columns, over the whole depth.

Activations are read as they lie, row by row, 4 bytes at a time spread over a vector; weights come
from a packed panel, in the order in which they are needed. The sums are phis of vectors and stay in
registers from the first product to the last; then they are written to a small array that the
epilogue reads from the nearest cache.

maddubs is a loop of its own. The sums of a record's 4 groups are kept in int16 for as long as they
fit, and then widened: 5 to 8 multiplying instructions, where products of int16 would take 8 and
half as many numbers each. That is exact wherever a sum fits, and packing proves it from the
weights. An activation is 0 … 127, so with P the sum of a lane's positive weights and N of its
negative ones, the sum lies in [127 N, 127 P]:

- PLAIN: that of all 4 groups is inside int16;
- PAIRS: those of the first 2 groups and of the last 2 are, so there are two sums;
- with FIRST_APART, SECOND_APART or both set: those 2 groups are widened each by itself. A group
  always fits, for two weights make 127 * 2 * 128 = 32,512 at most.

docs/benchmarks.md says which tiles and which ways of summing were timed.

Shape letters: r rows, v vectors of a tile.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from tinytorch.native.int8 import dots
from tinytorch.native.int8.dots import RECORD_GROUPS, Dot
from tinytorch.native.pointers import intrinsic, types

# The ways of summing: PAIRS, with any of the two bits, or PLAIN.
PAIRS, FIRST_APART, SECOND_APART, PLAIN = 0, 1, 2, 4
WAYS = (PAIRS, PAIRS | FIRST_APART, PAIRS | SECOND_APART, PAIRS | FIRST_APART | SECOND_APART, PLAIN)
_BYTE, _INT, _LONG = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_PLACE = _BYTE.as_pointer()


def _sums_of(way: int) -> list[range]:
    """Return the groups of a record that are added up in int16, for each sum."""
    half = RECORD_GROUPS // 2
    if way == PLAIN:
        return [range(RECORD_GROUPS)]
    found: list[range] = []
    for h, bit in enumerate((FIRST_APART, SECOND_APART)):
        groups = range(half * h, half * (h + 1))
        found += [range(g, g + 1) for g in groups] if way & bit else [groups]
    return found


class _Writer:
    """Writes the loop of one dot at the end of an LLVM function."""

    def __init__(self, builder: Any, dot: Dot) -> None:
        self.builder, self.dot = builder, dot
        self.vector = ir.VectorType(_INT, dot.lanes)
        self.bytes = 4 * dot.lanes

    def moved(self, place: Any, distance: Any) -> Any:
        return self.builder.gep(place, [distance if hasattr(distance, "type") else _LONG(distance)])

    def load(self, place: Any, kind: Any, align: int) -> Any:
        return self.builder.load(self.builder.bitcast(place, kind.as_pointer()), align=align)

    def behind(self, value: Any, other: Any) -> Any:
        """Return an address as if it came of `other`, a vector; it costs no instruction."""
        kind = ir.FunctionType(value.type, [value.type, other.type])
        return self.builder.asm(kind, "", "=r,0,x", [value, other], side_effect=False)

    def weights(self, place: Any, index: int) -> Any:
        return self.load(self.moved(place, index * self.bytes), self.vector, self.bytes)

    def spread(self, place: Any) -> Any:
        """Return 4 bytes of activations in every lane."""
        undefined = ir.Constant(self.vector, ir.Undefined)
        single = self.builder.insert_element(undefined, self.load(place, _INT, 4), _INT(0))
        return self.builder.shuffle_vector(single, undefined, ir.Constant(self.vector, None))

    def loop(self, args: tuple[Any, ...], body: Any) -> None:
        """Run `body` once a step, which moves on the activations and the weights; store the sums.

        `args` are the tile's; `body(k, a, b, sums)` returns the sums and the next b.
        """
        a, a_row, b, _, steps, out = args
        builder, dot = self.builder, self.dot
        offsets = [builder.mul(a_row, _LONG(i)) for i in range(dot.rows)]
        entry, head = builder.block, builder.append_basic_block("step")
        done = builder.append_basic_block("done")
        builder.branch(head)
        builder.position_at_end(head)
        k, here, weights = builder.phi(_LONG), builder.phi(a.type), builder.phi(b.type)
        sums = [builder.phi(self.vector) for _ in range(dot.rows * dot.vectors)]
        rows = [self.moved(here, offset) for offset in offsets]
        added, after = body(k, rows, weights, sums)
        following = builder.add(k, _LONG(1))
        moves = [
            (k, _LONG(0), following),
            (here, a, self.moved(here, 4 * dot.groups)),
            (weights, b, after),
            *(
                (old, ir.Constant(self.vector, None), new)
                for old, new in zip(sums, added, strict=True)
            ),
        ]
        end = builder.block
        for phi, first, new in moves:
            phi.add_incoming(first, entry)
            phi.add_incoming(new, end)
        builder.cbranch(builder.icmp_signed("<", following, steps), head, done)
        builder.position_at_end(done)
        for i, total in enumerate(added):
            place = builder.bitcast(self.moved(out, i * self.bytes), self.vector.as_pointer())
            builder.store(total, place, align=self.bytes)

    def plain_step(self, k: Any, rows: list[Any], b: Any, sums: list[Any]) -> tuple[list[Any], Any]:
        """One group: a vector of weights by each row, one dot for each sum."""
        dot, added = self.dot, []
        vectors = [self.weights(b, v) for v in range(dot.vectors)]
        emit = dots.EMIT[dot.name]
        for i, place in enumerate(rows):
            a = self.spread(place)
            for v, weights in enumerate(vectors):
                added.append(emit(self.builder, sums[i * dot.vectors + v], a, weights))
        return added, self.moved(b, dot.vectors * self.bytes)

    # ---------------------------------------------------------------- maddubs

    def _sum_groups(self, spread: list[Any], b: Any, v: int) -> Any:
        """Return the int16 sums of a row's groups, by their activations and vector v of weights."""
        total = None
        for g, a in spread:
            weights = self.weights(b, g * self.dot.vectors + v)
            product = dots.products_of_bytes(self.builder, a, weights)
            total = product if total is None else self.builder.add(total, product)
        return total

    def _record(self, way: int, rows: list[Any], b: Any, sums: list[Any]) -> tuple[list[Any], Any]:
        """Return the sums with a record's products added, and the address of its weights."""
        vectors, parts = self.dot.vectors, _sums_of(way)
        added = list(sums)
        for i, row in enumerate(rows):
            spread = [(g, self.spread(self.moved(row, 4 * g))) for g in range(RECORD_GROUPS)]
            for at in range(i * vectors, (i + 1) * vectors):
                for groups in parts:
                    total = self._sum_groups([spread[g] for g in groups], b, at - i * vectors)
                    added[at] = self.builder.add(added[at], dots.pairs_added(self.builder, total))
                # NOTE: as if it were another address for every vector, which is known when this one
                # is done: weights in memory serve as operands at no cost, and LLVM would keep them
                # for the next row, or more vectors at once, in registers that the sums need.
                b = self.behind(b, added[at])
        return added, b

    def maddubs_step(self, kinds: Any) -> Any:
        """Make the step over one record, by the way of summing that `kinds[k]` says."""

        def step(k: Any, rows: list[Any], b: Any, sums: list[Any]) -> tuple[list[Any], Any]:
            builder = self.builder
            kind = builder.load(self.moved(kinds, k))
            blocks = {way: builder.append_basic_block(f"way{way}") for way in WAYS}
            join = builder.append_basic_block("join")
            choice = builder.switch(kind, blocks[PAIRS])
            for way in WAYS[1:]:
                choice.add_case(_BYTE(way), blocks[way])
            results = []
            for way, block in blocks.items():
                builder.position_at_end(block)
                added, after = self._record(way, rows, b, sums)
                results.append(([*added, after], block))
                builder.branch(join)
            builder.position_at_end(join)
            merged = [builder.phi(value.type) for value in results[0][0]]
            for values, block in results:
                for phi, value in zip(merged, values, strict=True):
                    phi.add_incoming(value, block)
            record = RECORD_GROUPS * self.dot.vectors * self.bytes
            return merged[:-1], self.moved(merged[-1], record)

        return step


def _function(module: Any, dot: Dot) -> Any:
    """Return void(a, a_row, b, kinds, steps, out), written once a module."""
    name = f"tinytorch.int8.{dot.name}.{dot.rows}x{dot.columns}"
    if name in module.globals:
        return module.globals[name]
    operands = [_PLACE, _LONG, _PLACE, _PLACE, _LONG, _PLACE]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), operands), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    function.attributes.add("nounwind")
    function.args[5].add_attribute("noalias")
    writer = _Writer(ir.IRBuilder(function.append_basic_block("entry")), dot)
    is_maddubs = dot.name == "maddubs"
    body = writer.maddubs_step(function.args[3]) if is_maddubs else writer.plain_step
    writer.loop(function.args, body)
    writer.builder.ret_void()
    return function


def tile_ir(dot: Dot) -> str:
    """Return the tile as LLVM IR that stands alone, for another CPU's assembly to be looked at."""
    module = ir.Module()
    _function(module, dot).linkage = "external"
    return str(module)


def tile_of(name: str) -> Any:
    """Make an intrinsic (a, a_row, b, kinds, steps, out) that writes a tile's int32 sums.

    a: the first row's codes, `a_row` bytes from row to row; b: a panel of packed weights, of which
    `kinds` says how each record is to be summed (maddubs alone reads it); `steps` of the depth, at
    least 1; out: rows x columns int32, aligned to a vector.
    """
    place = types.CPointer(types.uint8)

    @intrinsic
    def tile(typing_context, a, a_row, b, kinds, steps, out):
        def generate(context, builder, signature, args):
            dot = dots.dot_named(name)
            given = [builder.bitcast(x, _PLACE) if x.type != _LONG else x for x in args]
            builder.call(_function(builder.module, dot), given)
            return context.get_dummy_value()

        size = types.int64
        return types.void(place, size, place, place, size, types.CPointer(types.int32)), generate

    return tile
