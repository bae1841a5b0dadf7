"""What is done to a tile of C after its last multiply-add, while it is still in the nearest cache.

C = activation(C + bias) + residual. Each step is a pass over a tile of a few kilobytes in L1; the
same steps over the whole of C would each be a trip to memory.
"""

from __future__ import annotations

from collections import namedtuple

from tinytorch.native import vmath
from tinytorch.native.codecache import jit
from tinytorch.native.gemm.microkernel import LANES, NR, tile_shape
from tinytorch.native.gemm.pointers import at, stack
from tinytorch.native.simd import like, select

ACTIVATIONS = {"none": 0, "relu": 1, "gelu": 2, "gelu_erf": 3}

_BIAS_ROOM = stack(lambda kind: tile_shape(kind).columns)

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


@jit
def _finish_row(c, bias, count, activation):
    # NOTE: where the count is known to the compiler, the loops become that many vectors and nothing
    # else; where it is not, a row of 16 is too short for the vector loop that comes out.
    if activation == 2:
        for j in range(count):
            c[j] = vmath.gelu_tanh(c[j] + bias[j])
    elif activation == 3:
        for j in range(count):
            c[j] = vmath.gelu_erf(c[j] + bias[j])
    elif activation == 1:
        for j in range(count):
            x = c[j] + bias[j]
            zero = like(x, 0.0)
            c[j] = select(x < zero, zero, x)  # a NaN stays
    else:
        for j in range(count):
            c[j] += bias[j]


@jit
def _add_row(c, row, width):
    for j in range(width):
        c[j] += row[j]


@jit
def apply(
    c, c_row, rows, vectors, bias, has_bias, width, residual, residual_row, has_residual, activation
):
    """Finish `rows` rows of `vectors` (1, 2) in place; c is the first element's address.

    Of the bias and the residual, `width` columns are there: what is beyond them is not read.
    """
    own_bias = _BIAS_ROOM(c[0])
    for j in range(NR(c[0])):
        own_bias[j] = 0
    if has_bias != 0:
        for j in range(width):
            own_bias[j] = bias[j]
    for i in range(rows):
        row = at(c, i * c_row)
        if vectors == 2:
            _finish_row(row, own_bias, NR(c[0]), activation)
        else:
            _finish_row(row, own_bias, LANES(c[0]), activation)
        if has_residual != 0:
            _add_row(row, at(residual, i * residual_row), width)
