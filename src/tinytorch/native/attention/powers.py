"""Rows of scores: their largest, and powers of two of what they lie below it, in whole vectors.

Scores come multiplied by log2(e), so that softmax's exponential is a power of two, which needs no
constant of ln 2: split off the nearest integer, exactly, and use a polynomial on what is left. Only
what is at most a little above 0 is ever asked for, so nothing overflows; far below, it is 0.

A row begins anywhere and is a whole number of pairs of vectors long.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from tinytorch.native import level
from tinytorch.native.pointers import cgutils, intrinsic, types

_INT = ir.IntType(64)
# The largest `top` for which `raise_two` is exact about integers, in float32 and in float64.
HIGHEST = 2.0**21
# 2^r for |r| <= 1/2, constant term first: minimax fits (Remez), of relative error 7.5e-8 in float32
# and 1.8e-17 in float64.
_TERMS = {
    "float32": (
        1.0000000716510176,
        0.6931469670573849,
        0.24022119726186905,
        0.05550713284474811,
        0.009675541363567472,
        0.001327646921065138,
    ),
    "float64": (
        1.0,
        0.6931471805599457,
        0.24022650695910097,
        0.05550410866479039,
        0.009618129107607003,
        0.0013333558153439966,
        0.0001540353044157213,
        1.5252727385193868e-05,
        1.3215442675329823e-06,
        1.0180647659234139e-07,
        7.072570412814423e-09,
        4.078071929588337e-10,
    ),
}


class _Row:
    """Writes a loop over the pairs of vectors of a row into an LLVM function."""

    def __init__(self, context: Any, builder: Any, kind: Any) -> None:
        self.context, self.module = context, builder.module
        self.name = kind.name
        self.bits = kind.bitwidth
        self.real = context.get_value_type(kind)
        self.lanes = level.lanes(kind.name)
        self.vector = ir.VectorType(self.real, self.lanes)
        self.whole = ir.VectorType(ir.IntType(self.bits), self.lanes)

    def spread(self, builder: Any, scalar: Any) -> Any:
        undefined = ir.Constant(self.vector, ir.Undefined)
        index = ir.IntType(32)
        single = builder.insert_element(undefined, scalar, index(0))
        zeros = ir.Constant(ir.VectorType(index, self.lanes), None)
        return builder.shuffle_vector(single, undefined, zeros)

    def all(self, value: float) -> Any:
        return ir.Constant(self.vector, [value] * self.lanes)

    def whole_numbers(self, value: int) -> Any:
        return ir.Constant(self.whole, [value] * self.lanes)

    def place(self, builder: Any, start: Any, count: Any) -> Any:
        return builder.bitcast(builder.gep(start, [count]), self.vector.as_pointer())

    def load(self, builder: Any, place: Any) -> Any:
        return builder.load(place, align=self.bits // 8)

    def larger(self, builder: Any, new: Any, old: Any) -> Any:
        """Return the larger; `old` where `new` is NaN. One instruction on x86-64."""
        return builder.select(builder.fcmp_ordered(">", new, old), new, old)

    def reduce(self, builder: Any, vector: Any, combine: Any) -> Any:
        """Combine the lanes of a vector, half by half, into a number."""
        count = self.lanes
        while count > 1:
            count //= 2
            index = ir.IntType(32)
            picked = [index(count + i) for i in range(count)]
            picked += [index(0)] * (self.lanes - count)
            mask = ir.Constant(ir.VectorType(index, self.lanes), picked)
            undefined = ir.Constant(self.vector, ir.Undefined)
            vector = combine(builder, builder.shuffle_vector(vector, undefined, mask), vector)
        return builder.extract_element(vector, ir.IntType(32)(0))

    def loop(self, builder: Any, count: Any, start: list[Any], step: Any) -> list[Any]:
        """Emit a loop over 0, 2 lanes … < count, at least once; `step` makes new values."""
        entry = builder.block
        body, done = (builder.append_basic_block(name) for name in ("row", "done"))
        builder.branch(body)
        builder.position_at_end(body)
        position = builder.phi(_INT)
        values = [builder.phi(value.type) for value in start]
        following = step(builder, position, values)
        next_position = builder.add(position, _INT(2 * self.lanes))
        for phi, first, after in zip(
            (position, *values), (_INT(0), *start), (next_position, *following), strict=True
        ):
            phi.add_incoming(first, entry)
            phi.add_incoming(after, body)
        builder.cbranch(builder.icmp_signed("<", next_position, count), body, done)
        builder.position_at_end(done)
        return list(following)

    def function(self, name: str, operands: list[Any], result: Any, emit: Any) -> Any:
        name = f"tinytorch.{name}.{self.name}"
        if name in self.module.globals:
            return self.module.globals[name]
        function = ir.Function(self.module, ir.FunctionType(result, operands), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        function.attributes.add("nounwind")
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        builder.ret(emit(builder, *function.args))
        return function

    def largest(self, builder: Any, row: Any, count: Any) -> Any:
        """Emit the largest of `count` numbers, −inf where all are NaN."""

        def step(builder: Any, position: Any, values: list[Any]) -> list[Any]:
            places = (
                self.place(builder, row, builder.add(position, _INT(j * self.lanes)))
                for j in range(2)
            )
            return [
                self.larger(builder, self.load(builder, place), value)
                for place, value in zip(places, values, strict=True)
            ]

        both = self.loop(builder, count, [self.all(float("-inf"))] * 2, step)
        return self.reduce(builder, self.larger(builder, *both), self.larger)

    def powers(self, builder: Any, row: Any, count: Any, top: Any) -> Any:
        """Emit row = 2^(row - top), in place, and its sum; a NaN stays.

        NOTE: `top` being an integer, adding `shifter` rounds row - top to an integer, and leaves it
        with the exponent's bias in the low bits, though row - top is never computed.
        """
        stored, bias = (23, 127) if self.bits == 32 else (52, 1023)
        shifter = self.spread(
            builder, builder.fsub(ir.Constant(self.real, 1.5 * 2.0**stored + bias), top)
        )
        low = self.spread(builder, builder.fsub(top, ir.Constant(self.real, float(bias))))
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        name = f"llvm.fmuladd.v{self.lanes}f{self.bits}"
        multiply_add = cgutils.get_or_insert_function(self.module, kind, name)
        *terms, last = (self.all(term) for term in _TERMS[self.name])

        def power(x: Any) -> Any:
            x = builder.select(builder.fcmp_ordered(">", low, x), low, x)
            shifted = builder.fadd(x, shifter)
            rest = builder.fsub(x, builder.fsub(shifted, shifter))
            total = last
            for term in reversed(terms):
                total = builder.call(multiply_add, [total, rest, term])
            raised = builder.shl(builder.bitcast(shifted, self.whole), self.whole_numbers(stored))
            return builder.fmul(total, builder.bitcast(raised, self.vector))

        def step(builder: Any, position: Any, values: list[Any]) -> list[Any]:
            added = []
            for j, value in enumerate(values):
                place = self.place(builder, row, builder.add(position, _INT(j * self.lanes)))
                result = power(self.load(builder, place))
                builder.store(result, place, align=self.bits // 8)
                added.append(builder.fadd(value, result))
            return added

        both = self.loop(builder, count, [self.all(0.0)] * 2, step)
        return self.reduce(builder, builder.fadd(*both), lambda builder, x, y: builder.fadd(x, y))


@intrinsic
def largest_of(typing_context, row, count):
    """Return the largest of `count` numbers at the address `row`; NaNs are passed over."""
    if not isinstance(row, types.CPointer):
        return None

    def generate(context, builder, signature, args):
        code = _Row(context, builder, row.dtype)
        operands = [value.type for value in args]
        function = code.function("largest", operands, code.real, code.largest)
        return builder.call(function, args)

    return row.dtype(row, types.int64), generate


@intrinsic
def raise_two(typing_context, row, count, top):
    """Replace `count` numbers x at the address `row` by 2^(x - top); return their sum.

    `top` must be an integer of at most `HIGHEST` either way, and at most a few below the largest x.
    """
    if not isinstance(row, types.CPointer) or row.dtype != top:
        return None

    def generate(context, builder, signature, args):
        code = _Row(context, builder, row.dtype)
        operands = [value.type for value in args]
        function = code.function("powers", operands, code.real, code.powers)
        return builder.call(function, args)

    return top(row, types.int64, top), generate
