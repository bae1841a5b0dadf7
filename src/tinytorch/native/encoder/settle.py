"""From a tile's int32 sums to an encoder's rows: stored, added, or activated for the next codes.

One multiplication by the row's scale and the column's, after the row's zero times the column's
weights is taken off: in float32, for the sums are exact in it up to 2^24, far beyond what a code's
rounding leaves. What comes next is done while a sum is in a register: it is added to the states; or
it is activated, multiplied by what evens out the next layer's channels, and its row's range
widened, so that the row can be made codes in one pass.

GELU is x times a polynomial for the normal distribution, odd about 1/2, of `TERMS` terms in the
square, which is 1 from where it meets 1: it errs by 2e-4 at most, a hundredth of a code's step, in
a third of the instructions of one to float32's precision.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from tinytorch.native import level
from tinytorch.native.pointers import cgutils, intrinsic, types

# Kinds of settling; from FIRST_ACTIVATION on, activations by their numbers in an epilogue.
STORE, ADD, FIRST_ACTIVATION = 0, 1, 1
_RELU, _GELU_TANH, _GELU_ERF = 1, 2, 3
# Where the polynomial is 1, and its coefficients: least largest error of x * it, by its form.
_POLYNOMIALS = {
    _GELU_TANH: (3.8, (
        3.97898672e-01, -6.48682981e-02, 8.94862608e-03, -8.52620640e-04, 5.19841362e-05,
        -1.80198435e-06, 2.67839783e-08,
    )),
    _GELU_ERF: (4.0, (
        3.97870361e-01, -6.45545305e-02, 8.76373775e-03, -8.12195915e-04, 4.77646528e-05,
        -1.58886121e-06, 2.25887999e-08,
    )),
}  # fmt: skip
TERMS = 7

_INT, _LONG, _REAL = ir.IntType(32), ir.IntType(64), ir.FloatType()
# Of a column: its weights' sum, its scale, its bias.
_WEIGHTS, _STEP, _BIAS = range(3)


class Vectors:
    """Writes vector instructions."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder
        self.lanes = level.vector_bytes() // 4
        self.integers, self.reals = (ir.VectorType(kind, self.lanes) for kind in (_INT, _REAL))

    def place(self, start: Any, *indices: Any) -> Any:
        for index in indices:
            start = self.builder.gep(start, [_LONG(index) if isinstance(index, int) else index])
        return start

    def load(self, start: Any, kind: Any = None) -> Any:
        kind = kind or self.reals
        return self.builder.load(self.builder.bitcast(start, kind.as_pointer()), align=4)

    def store(self, value: Any, start: Any) -> None:
        self.builder.store(value, self.builder.bitcast(start, value.type.as_pointer()), align=4)

    def spread(self, scalar: Any) -> Any:
        undefined = ir.Constant(self.reals, ir.Undefined)
        single = self.builder.insert_element(undefined, scalar, _INT(0))
        zeros = ir.Constant(self.integers, None)
        return self.builder.shuffle_vector(single, undefined, zeros)

    def like(self, number: float) -> Any:
        return ir.Constant(self.reals, [_REAL(number)] * self.lanes)

    def fused(self, a: Any, b: Any, c: Any) -> Any:
        """Return a * b + c, rounded once where the CPU can."""
        kind = ir.FunctionType(a.type, [a.type] * 3)
        name = f"llvm.fmuladd.v{a.type.count}f32"
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, [a, b, c])

    def least(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.fcmp_ordered("<", a, b), a, b)

    def most(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def distribution(self, x: Any, activation: int) -> Any:
        """Return GELU's factor of x."""
        end, terms = _POLYNOMIALS[activation]
        x = self.least(self.most(x, self.like(-end)), self.like(end))
        square = self.builder.fmul(x, x)
        total = self.like(terms[-1])
        for term in terms[-2::-1]:
            total = self.fused(total, square, self.like(term))
        return self.fused(total, x, self.like(0.5))


class _Settler:
    """Writes the code that settles rows of a panel's sums, in one way."""

    def __init__(self, vectors: Vectors, kind: int, activation: int, args: tuple[Any, ...]) -> None:
        self.v, self.kind, self.activation = vectors, kind, activation
        (
            self.sums, self.rows, self.width, self.panel, self.columns, self.stride,
            self.scales, self.zeros, self.out, self.out_row, self.even, self.marks,
        ) = args  # fmt: skip

    def _column(self, number: int, j: Any) -> Any:
        return self.v.load(self.v.place(self.columns, self._of_columns[number], j))

    def write(self) -> None:
        """Write the loops over rows: of a whole panel, of 4 vectors or 2, and of the last one."""
        v, builder = self.v, self.v.builder
        # Addresses are found once, and not in every row.
        self._of_columns = [builder.mul(self.stride, _LONG(i)) for i in range(3)]
        done = builder.append_basic_block("written")
        other = builder.append_basic_block("ragged")
        choice = builder.switch(self.width, other)
        for count in (2, 4):
            block = builder.append_basic_block(f"vectors{count}")
            choice.add_case(_LONG(count * v.lanes), block)
            builder.position_at_end(block)
            with cgutils.for_range(builder, self.rows) as loop:
                marks = self._begin(loop.index)
                for k in range(count):
                    marks = self._vector(loop.index, _LONG(k * v.lanes), marks)
                self._end(loop.index, marks)
            builder.branch(done)
        builder.position_at_end(other)
        with cgutils.for_range(builder, self.rows) as loop:
            step = _LONG(v.lanes)
            with cgutils.for_range_slice(builder, _LONG(0), self.width, step) as (j, _):
                self._end(loop.index, self._vector(loop.index, j, self._begin(loop.index)))
        builder.branch(done)
        builder.position_at_end(done)

    def _begin(self, i: Any) -> list[Any]:
        v, builder = self.v, self.v.builder
        self._scale = v.spread(builder.load(builder.gep(self.scales, [i])))
        zero = builder.load(builder.gep(self.zeros, [i]))
        self._minus_zero = v.spread(builder.fneg(zero))
        self._row = builder.gep(self.out, [builder.mul(i, self.out_row)])
        if not self.activation:
            return []
        place = builder.gep(self.marks, [builder.mul(i, _LONG(2 * v.lanes))])
        return [v.load(place), v.load(v.place(place, v.lanes))]

    def _end(self, i: Any, marks: list[Any]) -> None:
        builder = self.v.builder
        for k, mark in enumerate(marks):
            start = builder.gep(self.marks, [builder.mul(i, _LONG(2 * self.v.lanes))])
            self.v.store(mark, self.v.place(start, k * self.v.lanes))

    def _vector(self, i: Any, j: Any, marks: list[Any]) -> list[Any]:
        v, builder = self.v, self.v.builder
        place = builder.gep(self.sums, [builder.add(builder.mul(i, self.panel), j)])
        total = builder.sitofp(v.load(place, v.integers), v.reals)
        total = v.fused(self._minus_zero, self._column(_WEIGHTS, j), total)
        total = builder.fmul(total, self._scale)
        step = self._column(_STEP, j)
        out = builder.gep(self._row, [j])
        if not self.activation:
            total = builder.fmul(total, step)
            if self.kind == ADD:
                total = builder.fadd(v.load(out), total)
            v.store(total, out)
            return []
        total = v.fused(total, step, self._column(_BIAS, j))
        factor = v.load(builder.gep(self.even, [j]))
        if self.activation == _RELU:
            total = builder.fmul(v.most(total, v.like(0.0)), factor)
        else:
            share = v.distribution(total, self.activation)
            total = builder.fmul(builder.fmul(share, factor), total)
        v.store(total, out)
        return [v.least(total, marks[0]), v.most(total, marks[1])]


def _settling() -> Any:
    floats, ints, size = types.CPointer(types.float32), types.CPointer(types.int32), types.int64

    @intrinsic
    def settle(
        typing_context, kind, sums, rows, width, panel, columns, stride, scales, zeros, out,
        out_row, even, marks,
    ):  # fmt: skip
        def generate(context, builder, signature, args):
            done = builder.append_basic_block("settled")
            ways = [(STORE, 0), (ADD, 0), *((FIRST_ACTIVATION + a, a) for a in (1, 2, 3))]
            blocks = [builder.append_basic_block(f"settle{number}") for number, _ in ways]
            choice = builder.switch(args[0], blocks[0])
            for (number, activation), block in zip(ways, blocks, strict=True):
                if number:
                    choice.add_case(_LONG(number), block)
                builder.position_at_end(block)
                _Settler(Vectors(builder), number, activation, args[1:]).write()
                builder.branch(done)
            builder.position_at_end(done)
            return context.get_dummy_value()

        columns_and_rows = (floats, size, floats, floats)
        signature = (size, ints, size, size, size, *columns_and_rows, floats, size, floats, floats)
        return types.void(*signature), generate

    return settle


# (kind, sums, rows, width, panel, columns, stride, scales, zeros, out, out_row, even, marks):
# settle `rows` of a panel's int32 sums, `panel` from row to row, of which `width` columns are
# wanted, whole vectors. `columns`: the panel's three numbers a column, `stride` floats from each to
# the next; scales and zeros: of the rows; `even` and `marks`, a vector of least values and one of
# largest a row, serve activations alone.
settle = _settling()
