"""The register tile of a sparse product: R outputs by V vectors of tokens, over one row of blocks.

Activations lie as panels, one input after the other, T = V * lanes tokens each. A weight is spread
over a vector and multiplied into V vectors of its input's tokens, which R outputs share: R * V
multiply-adds for V + R loads. With R = 1 (CSR) that is one load a multiply-add, as much as a core
does in a cycle; with R = 4 it is half of that, and the arithmetic binds, as in a dense product.

Shape letters: R outputs and W inputs of a block; V vectors, T tokens of the tile; P blocks.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from tinytorch.native import level
from tinytorch.native.gemm.microkernel import MicroKernel, repeated
from tinytorch.native.gemm.packing import transposed
from tinytorch.native.pointers import intrinsic, types

ROWS = (1, 2, 4, 8)
_INT, _WORD, _REAL = ir.IntType(64), ir.IntType(32), ir.FloatType()
_ITEM = 4


def vectors_for(rows: int) -> tuple[int, ...]:
    """Return the V that a tile of R outputs is made with, the largest first.

    The largest keeps eight sums in flight or more (a multiply-add takes four cycles, and two begin
    in each), and leaves registers for the tokens and for a spread weight. The others are for few
    tokens.
    """
    many = level.register_count() >= 32
    largest = {1: 8, 2: 8 if many else 4, 4: 4 if many else 3, 8: 3 if many else 1}[rows]
    return tuple(v for v in (8, 4, 3, 2, 1) if v <= largest and (v != 3 or largest == 3))


@dataclass(frozen=True)
class _Tile(MicroKernel):
    """Writes the function for R outputs by V vectors; `single` where a block is one input wide."""

    single: bool

    def function(self) -> Any:
        """Return void(values, columns, count, width, x, bias, out), written once."""
        kind = "single" if self.single else "wide"
        name = f"tinytorch.sparse.{kind}.{self.rows}x{self.vectors * self.lanes}"
        if name in self.module.globals:
            return self.module.globals[name]
        real = _REAL.as_pointer()
        operands = [real, _WORD.as_pointer(), _INT, _INT, real, real, real]
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), operands), name)
        function.linkage = "internal"
        for attribute in ("noinline", "nounwind"):
            function.attributes.add(attribute)
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        self._emit(builder, *function.args)
        builder.ret_void()
        return function

    def _emit(
        self,
        builder: Any,
        values: Any,
        columns: Any,
        count: Any,
        width: Any,
        x: Any,
        bias: Any,
        out: Any,
    ) -> None:
        sums = []
        for r in range(self.rows):
            sums += [
                self._spread(builder, builder.load(builder.gep(bias, [_INT(r)])))
            ] * self.vectors
        apart = _INT(self.vectors * self.lanes)

        def block(state: list[Any]) -> list[Any]:
            values, columns, *sums = state
            column = builder.sext(builder.load(columns), _INT)
            here = builder.gep(x, [builder.mul(column, apart)])
            if self.single:
                values, _, *sums = self._input(builder, values, here, sums)
            else:
                values, _, *sums = repeated(
                    builder,
                    width,
                    [values, here, *sums],
                    lambda state: self._input(builder, state[0], state[1], state[2:]),
                )
            return [values, builder.gep(columns, [_INT(1)]), *sums]

        _, _, *sums = repeated(builder, count, [values, columns, *sums], block)
        for i, total in enumerate(sums):
            place = builder.gep(out, [_INT(i * self.lanes)])
            builder.store(total, builder.bitcast(place, self.vector.as_pointer()), align=_ITEM)

    def _input(self, builder: Any, values: Any, x: Any, sums: list[Any]) -> list[Any]:
        """Multiply one input's tokens by its R weights; return what is next, and the sums."""
        tokens = [self._load(builder, place) for place in self._row(builder, x)]
        added: list[Any] = []
        for r in range(self.rows):
            weight = self._spread(builder, builder.load(builder.gep(values, [_INT(r)])))
            for vector in tokens:
                added.append(self._multiply_add(builder, weight, vector, sums[len(added)]))
        following = builder.gep(values, [_INT(self.rows)])
        return [following, builder.gep(x, [_INT(self.vectors * self.lanes)]), *added]


_PLACE, _PLACES = types.CPointer(types.float32), types.CPointer(types.int32)


@intrinsic
def multiply_blocks(typing_context, rows, vectors, values, columns, count, width, x, bias, out):
    """Write bias + a row of blocks times activations: out (R, T).

    values (P, W, R), columns (P,) are those of the row's first block; `count` P, `width` W; x the
    panel (K, T); rows and vectors are of ROWS and `vectors_for(rows)`.
    """
    integer = types.int64

    def generate(context, builder, signature, args):
        rows, vectors, *operands = args
        width = operands[3]
        key = builder.add(builder.mul(rows, _INT(16)), vectors)
        none, end = (builder.append_basic_block(name) for name in ("tile.none", "tile.end"))
        choice = builder.switch(key, none)
        for r in ROWS:
            for v in vectors_for(r):
                block = builder.append_basic_block("tile")
                choice.add_case(_INT(r * 16 + v), block)
                builder.position_at_end(block)
                single = builder.icmp_signed("==", width, _INT(1))
                with builder.if_else(single) as branches:
                    for branch, is_single in zip(branches, (True, False), strict=True):
                        with branch:
                            tile = _Tile(builder.module, _REAL, lanes(), r, v, is_single)
                            builder.call(tile.function(), operands)
                builder.branch(end)
        builder.position_at_end(none)
        builder.unreachable()
        builder.position_at_end(end)
        return context.get_dummy_value()

    signature = types.void(
        integer, integer, _PLACE, _PLACES, integer, integer, _PLACE, _PLACE, _PLACE
    )
    return signature, generate


@functools.cache
def lanes() -> int:
    """Return how many tokens a vector holds."""
    return level.lanes("float32")


@intrinsic
def turn_square(typing_context, source, source_row, target, target_row):
    """Transpose lanes x lanes floats from rows `source_row` apart to rows `target_row` apart."""

    def generate(context, builder, signature, args):
        source, source_row, target, target_row = args
        pointer = ir.VectorType(_REAL, lanes()).as_pointer()

        def places(start: Any, row: Any) -> list[Any]:
            rows = (builder.gep(start, [builder.mul(row, _INT(i))]) for i in range(lanes()))
            return [builder.bitcast(place, pointer) for place in rows]

        given = [builder.load(place, align=_ITEM) for place in places(source, source_row)]
        made = transposed(builder, given)
        for value, place in zip(made, places(target, target_row), strict=True):
            builder.store(value, place, align=_ITEM)
        return context.get_dummy_value()

    return types.void(_PLACE, types.int64, _PLACE, types.int64), generate
