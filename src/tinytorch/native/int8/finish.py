"""From a tile's int32 sums to what is stored, while they are in the nearest cache.

What the sums hold too much is taken off: a row's zero times the sum of the column's weights. Then,
for float32, come one multiplication by both scales, the bias, the activation.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from tinytorch.native import level, vmath
from tinytorch.native.codecache import jit
from tinytorch.native.pointers import cgutils, floats_at, intrinsic, ints_at, types
from tinytorch.native.simd import like, select

_INT, _LONG, _REAL = ir.IntType(32), ir.IntType(64), ir.FloatType()


class _Settler:
    """Writes the code that settles a tile, a vector of columns after the other."""

    def __init__(self, builder: Any, to_float: bool) -> None:
        self.builder, self.to_float = builder, to_float
        self.lanes = level.vector_bytes() // 4
        self.integers, self.reals = (ir.VectorType(kind, self.lanes) for kind in (_INT, _REAL))

    def load(self, start: Any, index: Any, kind: Any) -> Any:
        place = self.builder.gep(start, [index])
        return self.builder.load(self.builder.bitcast(place, kind.as_pointer()), align=4)

    def spread(self, start: Any, index: Any, vector: Any) -> Any:
        scalar = self.builder.load(self.builder.gep(start, [index]))
        undefined = ir.Constant(vector, ir.Undefined)
        single = self.builder.insert_element(undefined, scalar, _INT(0))
        zeros = ir.Constant(ir.VectorType(_INT, self.lanes), None)
        return self.builder.shuffle_vector(single, undefined, zeros)

    def write(self, tile: tuple[Any, ...], columns: list[Any], of_rows: tuple[Any, Any]) -> None:
        """Settle rows of sums into `out`, two vectors at a time: tiles have an even number.

        tile: (sums, rows, width, out, out_row); columns: addresses of sums of weights, scales,
        biases; of_rows: of scales and zeros.
        """
        builder = self.builder
        sums, rows, width, out, out_row = tile
        with cgutils.for_range(builder, rows) as loop:
            row = self.of_row(loop.index, *of_rows)
            source = builder.gep(sums, [builder.mul(loop.index, width)])
            target = builder.gep(out, [builder.mul(loop.index, out_row)])
            step = _LONG(2 * self.lanes)
            with cgutils.for_range_slice(builder, _LONG(0), width, step) as (first, _):
                for v in (first, builder.add(first, _LONG(self.lanes))):
                    value = self.settled(self.load(source, v, self.integers), v, columns, row)
                    place = builder.gep(target, [v])
                    builder.store(value, builder.bitcast(place, value.type.as_pointer()), align=4)

    def of_row(self, i: Any, scales: Any, zeros: Any) -> tuple[Any, Any]:
        """Return what a row's codes stand for, its scale and its zero, in every lane."""
        zero = self.spread(zeros, i, self.integers)
        if not self.to_float:
            return None, zero
        negative = self.builder.fneg(self.builder.sitofp(zero, self.reals))
        return self.spread(scales, i, self.reals), negative

    def settled(self, total: Any, v: Any, columns: list[Any], row: tuple[Any, Any]) -> Any:
        """Return a vector of sums settled.

        NOTE: as floats before the zero's part is off: sums of up to 2**24, and their parts, are
        exact, and larger ones are rounded by less than any of their codes was.
        """
        builder, (scale, zero) = self.builder, row
        if not self.to_float:
            return builder.sub(total, builder.mul(zero, self.load(columns[0], v, self.integers)))
        weights, step, bias = (self.load(start, v, self.reals) for start in columns)
        total = self.plus_product(zero, weights, builder.sitofp(total, self.reals))
        return self.plus_product(builder.fmul(total, scale), step, bias)

    def plus_product(self, x: Any, y: Any, z: Any) -> Any:
        """Return x * y + z, rounded once where the CPU can."""
        kind = ir.FunctionType(self.reals, [self.reals] * 3)
        name = f"llvm.fmuladd.v{self.lanes}f32"
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, [x, y, z])


def _settling(to_float: bool) -> Any:
    """Make an intrinsic that settles a tile; as floats, or as the integers they are.

    (sums, rows, width, out, out_row, columns, stride, row scales, row zeros): `out` may be the sums
    themselves; the rest as in `to_floats`.
    """
    ints, floats = types.CPointer(types.int32), types.CPointer(types.float32)

    @intrinsic
    def settle(typing_context, sums, rows, width, out, out_row, columns, stride, scales, zeros):
        def generate(context, builder, signature, args):
            kinds = (_REAL if to_float else _INT, _REAL, _REAL)
            starts = [
                builder.inttoptr(
                    builder.add(args[5], builder.mul(args[6], _LONG(i))), kind.as_pointer()
                )
                for i, kind in enumerate(kinds)
            ]
            _Settler(builder, to_float).write(args[:5], starts, args[7:9])
            return context.get_dummy_value()

        size = types.int64
        target = floats if to_float else ints
        signature = (ints, size, size, target, size, size, size, floats, ints)
        return types.void(*signature), generate

    return settle


_settle_floats, _settle_integers = _settling(True), _settling(False)


@intrinsic
def _put_rows(typing_context, tile, rows, width, out, out_row):
    """Write rows of a tile, whole vectors, to `out`, `out_row` numbers from row to row."""
    if not isinstance(out, types.CPointer) or tile != out:
        return None

    def generate(context, builder, signature, args):
        writer = _Settler(builder, False)
        tile, rows, width, out, out_row = args
        with cgutils.for_range(builder, rows) as loop:
            source = builder.gep(tile, [builder.mul(loop.index, width)])
            target = builder.gep(out, [builder.mul(loop.index, out_row)])
            step = _LONG(writer.lanes)
            with cgutils.for_range_slice(builder, _LONG(0), width, step) as (offset, _):
                # The bits, whatever they are.
                value = writer.load(source, offset, writer.integers)
                place = builder.gep(target, [offset])
                builder.store(value, builder.bitcast(place, value.type.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(tile, types.int64, types.int64, out, types.int64), generate


@jit
def _activate(values, count, activation):
    if activation == 1:
        for i in range(count):
            zero = like(values[i], 0.0)
            values[i] = select(values[i] < zero, zero, values[i])  # a NaN stays
    elif activation == 2:
        for i in range(count):
            values[i] = vmath.gelu_tanh(values[i])
    elif activation == 3:
        for i in range(count):
            values[i] = vmath.gelu_erf(values[i])


@jit
def _put(tile, tile_row, rows, width, out, out_row, out_column):
    if out_column == 1 and width == tile_row:
        _put_rows(tile, rows, width, out, out_row)
    else:
        for i in range(rows):
            for j in range(width):
                out[i * out_row + j * out_column] = tile[i * tile_row + j]


def to_floats(
    sums,
    rows,
    width,
    tile_row,
    columns,
    stride,
    scales,
    zeros,
    out,
    out_row,
    out_column,
    activation,
):
    """Settle a tile, activate it, and write `rows` x `width` of it to float32 `out`.

    All are addresses but the counts; `columns` is that of sums of weights (as floats), scales and
    biases, `stride` bytes from each to the next.
    """
    is_direct = activation == 0 and out_column == 1 and width == tile_row
    target, target_row = (out, out_row) if is_direct else (sums, tile_row)
    _settle_floats(
        ints_at(sums),
        rows,
        tile_row,
        floats_at(target),
        target_row,
        columns,
        stride,
        floats_at(scales),
        ints_at(zeros),
    )
    if not is_direct:
        _activate(floats_at(sums), rows * tile_row, activation)
        _put(floats_at(sums), tile_row, rows, width, floats_at(out), out_row, out_column)


def to_integers(
    sums,
    rows,
    width,
    tile_row,
    columns,
    stride,
    scales,
    zeros,
    out,
    out_row,
    out_column,
    activation,
):
    """Settle a tile and write it to int32 `out`; the weights' sums are int32, the rest the same."""
    _settle_integers(
        ints_at(sums),
        rows,
        tile_row,
        ints_at(sums),
        tile_row,
        columns,
        stride,
        floats_at(scales),
        ints_at(zeros),
    )
    _put(ints_at(sums), tile_row, rows, width, ints_at(out), out_row, out_column)
