"""Scores of several register tiles of queries against one panel of keys, in one call.

A tile of scores is a product as deep as a key is long, 32 or 64 steps, so short that calling the
micro-kernel of products for each one would cost a quarter of its time: storing is all that is left
to do here when the sums are ready, and the next tile begins at once.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from tinytorch.native.codecache import c_function
from tinytorch.native.gemm.microkernel import VECTORS, MicroKernel, tile_shape
from tinytorch.native.pointers import intrinsic, types

_INT = ir.IntType(64)
# Steps along a key in one turn of the loop: a short loop's end is better foreseen by the CPU.
_UNROLLED = 4


@dataclass(frozen=True)
class _Strips(MicroKernel):
    """Writes the function for tiles of `rows` by two vectors into an LLVM module."""

    def strips(self) -> Any:
        """Return void(q, q_row, q_step, panel, depth, scores, scores_row, tiles), written once."""
        name = f"tinytorch.scores.f{self.bits}.{self.rows}x{self.vectors * self.lanes}"
        if name in self.module.globals:
            return self.module.globals[name]
        pointer = self.real.as_pointer()
        operands = [pointer, _INT, _INT, pointer, _INT, pointer, _INT, _INT]
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), operands), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        function.attributes.add("nounwind")
        for i in (0, 3, 5):
            function.args[i].add_attribute("noalias")
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        self._tiles(builder, *function.args)
        builder.ret_void()
        return function

    def _tiles(
        self, builder: Any, q: Any, q_row: Any, q_step: Any, panel: Any, depth: Any, *rest: Any
    ) -> None:
        scores, scores_row, tiles = rest
        entry = builder.block
        body, done = (builder.append_basic_block(name) for name in ("tile", "end"))
        offsets = [builder.mul(q_row, _INT(i)) for i in range(self.rows)]
        places = [builder.mul(scores_row, _INT(i)) for i in range(self.rows)]
        q_tile = builder.mul(q_row, _INT(self.rows))
        scores_tile = builder.mul(scores_row, _INT(self.rows))
        builder.branch(body)
        builder.position_at_end(body)
        count, here, there = (builder.phi(kind) for kind in (_INT, q.type, q.type))
        sums = self._products(builder, (here, offsets, q_step), panel, depth)
        for i, place in enumerate(places):
            row = self._row(builder, builder.gep(there, [place]))
            for j, address in enumerate(row):
                builder.store(sums[i * self.vectors + j], address, align=self.bits // 8)
        moves = [
            (count, _INT(0), builder.add(count, _INT(1))),
            (here, q, builder.gep(here, [q_tile])),
            (there, scores, builder.gep(there, [scores_tile])),
        ]
        for phi, first, following in moves:
            phi.add_incoming(first, entry)
            phi.add_incoming(following, builder.block)
        builder.cbranch(builder.icmp_signed("<", moves[0][2], tiles), body, done)
        builder.position_at_end(done)

    def _products(self, builder: Any, q: Any, panel: Any, depth: Any) -> list[Any]:
        """Run k over the depth, some steps at a time, then one by one; return the sums."""
        start, offsets, q_step = q
        state = [_INT(0), start, panel, *[ir.Constant(self.vector, None)] * self.rows * 2]
        whole = builder.and_(depth, _INT(-_UNROLLED))
        for steps, end in ((_UNROLLED, whole), (1, depth)):
            entry = builder.block
            loop, done = (builder.append_basic_block(name) for name in ("k", "done"))
            builder.cbranch(builder.icmp_signed("<", state[0], end), loop, done)
            builder.position_at_end(loop)
            phis = [builder.phi(value.type) for value in state]
            k, here, b, *sums = phis
            for step in range(steps):
                b_row = [
                    self._load(builder, place)
                    for place in self._row(
                        builder, builder.gep(b, [_INT(step * self.vectors * self.lanes)])
                    )
                ]
                for i, offset in enumerate(offsets):
                    element = self._load(builder, builder.gep(here, [offset]))
                    spread = self._spread(builder, element)
                    for j, vector in enumerate(b_row):
                        place = i * self.vectors + j
                        sums[place] = self._multiply_add(builder, spread, vector, sums[place])
                here = builder.gep(here, [q_step])
            beyond = builder.gep(b, [_INT(steps * self.vectors * self.lanes)])
            following = [builder.add(k, _INT(steps)), here, beyond, *sums]
            for phi, first, after in zip(phis, state, following, strict=True):
                phi.add_incoming(first, entry)
                phi.add_incoming(after, loop)
            builder.cbranch(builder.icmp_signed("<", following[0], end), loop, done)
            builder.position_at_end(done)
            results = [builder.phi(value.type) for value in state]
            for result, before, after in zip(results, state, following, strict=True):
                result.add_incoming(before, entry)
                result.add_incoming(after, loop)
            state = results
        return state[3:]


@intrinsic
def score_tiles(typing_context, rows, tiles, q, q_row, q_step, panel, depth, scores, scores_row):
    """Write q @ panel for `tiles` tiles of `rows` (1 … MR) queries each, one below the other.

    q's element (i, k) is q[i * q_row + k * q_step]; a panel is packed, NR keys a step. A row of
    scores is NR wide, the next one `scores_row` on. Whole vectors are written.
    """
    pointer, size = q, types.int64
    if not isinstance(q, types.CPointer) or not q == panel == scores:
        return None
    tile = tile_shape(q.dtype.name)

    def generate(context, builder, signature, args):
        real = context.get_value_type(q.dtype)
        high, count, *operands = args
        none, end = (builder.append_basic_block(name) for name in ("strips.none", "strips.end"))
        choice = builder.switch(high, none)
        for r in range(1, tile.rows + 1):
            block = builder.append_basic_block("strips")
            choice.add_case(_INT(r), block)
            builder.position_at_end(block)
            kernel = _Strips(builder.module, real, tile.lanes, r, VECTORS)
            builder.call(kernel.strips(), [*operands, count])
            builder.branch(end)
        builder.position_at_end(none)
        builder.unreachable()
        builder.position_at_end(end)
        return context.get_dummy_value()

    return types.void(size, size, pointer, size, size, pointer, size, pointer, size), generate


def _score_tiles(rows, tiles, q, q_row, q_step, panel, depth, scores, scores_row):
    score_tiles(rows, tiles, q, q_row, q_step, panel, depth, scores, scores_row)


@functools.cache
def _compiled(dtype: str) -> Any:
    size, place = types.int64, types.CPointer(getattr(types, dtype))
    kind = types.void(size, size, place, size, size, place, size, place, size)
    return c_function(_score_tiles, kind)


def address(dtype: str) -> int:
    """Return the address of `score_tiles` for 'float32' or 'float64', compiled if need be."""
    return int(_compiled(dtype).address)
