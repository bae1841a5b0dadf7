"""What is done to a tile of C after its last multiply-add, while it is still in the nearest cache.

C = activation(C + bias) + residual. Each step is a pass over a tile of a few kilobytes in L1; the
same steps over the whole of C would each be a trip to memory.
"""

from __future__ import annotations

from collections import namedtuple

from llvmlite import ir

from tinytorch.native import vmath
from tinytorch.native.codecache import jit
from tinytorch.native.gemm.microkernel import LANES, NR, tile_shape
from tinytorch.native.pointers import at, cgutils, intrinsic, stack, types

ACTIVATIONS = {"none": 0, "relu": 1, "gelu": 2, "gelu_erf": 3}

# Room for a row of biases: one tile wide.
bias_room = stack(lambda kind: tile_shape(kind).columns)

# The addresses of the row of biases and of the residual's first element, where there are any, the
# residual's elements from row to row, and the activation's number.
Finish = namedtuple("Finish", "bias has_bias residual residual_row has_residual activation")


@jit
def is_wanted(finish):
    """Say whether anything is left to do after the product."""
    return finish.has_bias != 0 or finish.has_residual != 0 or finish.activation != 0


@jit
def moved(finish, row, column):
    """Return the epilogue of the part of C that begins at (row, column)."""
    bias = at(finish.bias, column) if finish.has_bias != 0 else finish.bias
    residual = finish.residual
    if finish.has_residual != 0:
        residual = at(residual, row * finish.residual_row + column)
    return Finish(
        bias,
        finish.has_bias,
        residual,
        finish.residual_row,
        finish.has_residual,
        finish.activation,
    )


def _adding(*, relu):
    """Make an intrinsic that adds a row of biases to rows of a tile, with or without relu."""

    @intrinsic
    def add(typing_context, c, c_row, rows, vectors, bias):
        if not isinstance(c, types.CPointer) or c != bias:
            return None
        kind = c.dtype
        lanes, size = tile_shape(kind.name).lanes, kind.bitwidth // 8

        def generate(context, builder, signature, args):
            c, c_row, rows, vectors, bias = args
            real, integer = context.get_value_type(kind), ir.IntType(64)
            vector = ir.VectorType(real, lanes)
            zeros = ir.Constant(vector, None)

            def place(start, index):
                return builder.bitcast(builder.gep(start, [index]), vector.as_pointer())

            # NOTE: the biases are in registers before anything is written, for LLVM can't tell
            # that they don't lie where C does, and would take element after element.
            with cgutils.for_range(builder, vectors) as outer:
                column = builder.mul(outer.index, integer(lanes))
                biases = builder.load(place(bias, column), align=size)
                with cgutils.for_range(builder, rows) as inner:
                    index = builder.add(builder.mul(inner.index, c_row), column)
                    there = place(c, index)
                    x = builder.fadd(builder.load(there, align=size), biases)
                    if relu:  # a NaN stays
                        x = builder.select(builder.fcmp_ordered("<", x, zeros), zeros, x)
                    builder.store(x, there, align=size)
            return context.get_dummy_value()

        whole = types.int64
        return types.void(c, whole, whole, whole, bias), generate

    return add


_add_bias = _adding(relu=False)
_add_bias_and_relu = _adding(relu=True)


@jit
def _gelu_row(c, bias, count, activation):
    # NOTE: where the count is known to the compiler, the loops become that many vectors and nothing
    # else; where it is not, a row of 16 is too short for the vector loop that comes out.
    if activation == 2:
        for j in range(count):
            c[j] = vmath.gelu_tanh(c[j] + bias[j])
    else:
        for j in range(count):
            c[j] = vmath.gelu_erf(c[j] + bias[j])


@jit
def _gelu(c, c_row, rows, vectors, bias, activation):
    own = bias_room(c[0])  # where LLVM sees that C does not lie
    for j in range(NR(c[0])):
        own[j] = bias[j]
    for i in range(rows):
        row = at(c, i * c_row)
        if vectors == 2:
            _gelu_row(row, own, NR(c[0]), activation)
        else:
            _gelu_row(row, own, LANES(c[0]), activation)


@jit
def padded(bias, has_bias, width, room):
    """Return where a whole row of biases can be read: where it lies, or in `room`, zeros added.

    Of the bias, `width` columns are there: what is beyond them is not read.
    """
    if has_bias != 0 and width == NR(room[0]):
        return bias
    for j in range(NR(room[0])):
        room[j] = 0
    if has_bias != 0:
        for j in range(width):
            room[j] = bias[j]
    return room


@jit
def _add_row(c, row, width):
    for j in range(width):
        c[j] += row[j]


@jit
def apply(c, c_row, rows, vectors, bias, width, residual, residual_row, has_residual, activation):
    """Finish `rows` rows of `vectors` (1, 2) in place; c is the first element's address.

    `bias` is from `padded`. Of the residual, `width` columns are there.
    """
    if activation == 0:
        _add_bias(c, c_row, rows, vectors, bias)
    elif activation == 1:
        _add_bias_and_relu(c, c_row, rows, vectors, bias)
    else:
        _gelu(c, c_row, rows, vectors, bias, activation)
    if has_residual != 0:
        for i in range(rows):
            _add_row(at(c, i * c_row), at(residual, i * residual_row), width)
