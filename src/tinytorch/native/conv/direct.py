"""A micro-kernel that reads patches where they lie, for layers with few outputs.

Packed patches pay when many outputs use them. With one tile of outputs each is used once, so the
kernel takes the table of offsets instead and loads every element's row of pixels from the planes.
The bias is added last: sums that began with it would carry its rounding through every step.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from tinytorch.native.gemm.microkernel import VECTORS, MicroKernel, tile_shape
from tinytorch.native.pointers import intrinsic, types

_INT = ir.IntType(64)


class _Direct(MicroKernel):
    """Writes void(a, b, offsets, depth, c, c_row) for `rows` by `vectors` into an LLVM module.

    `a` is a packed panel, its step behind the last the bias; b is the first pixel in the planes.
    """

    def function(self) -> Any:
        name = f"tinytorch.direct.f{self.bits}.{self.rows}x{self.vectors * self.lanes}"
        if name in self.module.globals:
            return self.module.globals[name]
        pointer = self.real.as_pointer()
        operands = [pointer, pointer, _INT.as_pointer(), _INT, pointer, _INT]
        function = ir.Function(self.module, ir.FunctionType(ir.VoidType(), operands), name)
        function.linkage = "internal"
        for attribute in ("noinline", "nounwind"):
            function.attributes.add(attribute)
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        sums = self._gather(builder, *function.args[:4])
        c, c_row = function.args[4:]
        for i in range(self.rows):
            places = self._row(builder, builder.gep(c, [builder.mul(c_row, _INT(i))]))
            for j, place in enumerate(places):
                builder.store(sums[i * self.vectors + j], place, align=self.bits // 8)
        builder.ret_void()
        return function

    def _gather(self, builder: Any, a: Any, b: Any, offsets: Any, depth: Any) -> list[Any]:
        """Return the sum over k (which may be none) + bias, row by row."""
        high = tile_shape("float32" if self.bits == 32 else "float64").rows
        entry = builder.block
        start = [ir.Constant(self.vector, None)] * (self.rows * self.vectors)
        loop, done = (builder.append_basic_block(name) for name in ("k", "done"))
        builder.cbranch(builder.icmp_signed(">", depth, _INT(0)), loop, done)
        builder.position_at_end(loop)
        k, here = builder.phi(_INT), builder.phi(a.type)
        sums = [builder.phi(self.vector) for _ in start]
        first = builder.gep(b, [builder.load(builder.gep(offsets, [k]))])
        row = [self._load(builder, place) for place in self._row(builder, first)]
        added: list[Any] = []
        for i in range(self.rows):
            spread = self._spread(builder, self._load(builder, builder.gep(here, [_INT(i)])))
            for vector in row:
                added.append(self._multiply_add(builder, spread, vector, sums[len(added)]))
        after = builder.add(k, _INT(1))
        moves = [
            (k, _INT(0), after),
            (here, a, builder.gep(here, [_INT(high)])),
            *zip(sums, start, added, strict=True),
        ]
        for phi, before, following in moves:
            phi.add_incoming(before, entry)
            phi.add_incoming(following, loop)
        builder.cbranch(builder.icmp_signed("<", after, depth), loop, done)
        builder.position_at_end(done)
        results = [builder.phi(self.vector) for _ in start]
        for result, before, new in zip(results, start, added, strict=True):
            result.add_incoming(before, entry)
            result.add_incoming(new, loop)
        bias = builder.gep(a, [builder.mul(depth, _INT(high))])
        added = []
        for i in range(self.rows):
            spread = self._spread(builder, self._load(builder, builder.gep(bias, [_INT(i)])))
            own = results[i * self.vectors : (i + 1) * self.vectors]
            added.extend(builder.fadd(total, spread) for total in own)
        return added


@intrinsic
def direct_tile(typing_context, rows, vectors, a, b, offsets, depth, c, c_row):
    """Write a tile of `rows` (1 … MR) by `vectors` (1, 2) outputs; see `_Direct` for the rest."""
    integer = types.int64
    if not isinstance(a, types.CPointer) or not a == b == c:
        return None
    tile = tile_shape(a.dtype.name)

    def generate(context, builder, signature, args):
        real = context.get_value_type(a.dtype)
        key = builder.add(builder.mul(args[0], _INT(VECTORS)), args[1])
        none, end = (builder.append_basic_block(name) for name in ("direct.none", "direct.end"))
        choice = builder.switch(key, none)
        for r in range(1, tile.rows + 1):
            for v in range(1, VECTORS + 1):
                block = builder.append_basic_block("direct")
                choice.add_case(_INT(r * VECTORS + v), block)
                builder.position_at_end(block)
                kernel = _Direct(builder.module, real, tile.lanes, r, v)
                builder.call(kernel.function(), args[2:])
                builder.branch(end)
        builder.position_at_end(none)
        builder.unreachable()
        builder.position_at_end(end)
        return context.get_dummy_value()

    numbers = types.CPointer(integer)
    return types.void(integer, integer, a, a, numbers, integer, a, integer), generate
