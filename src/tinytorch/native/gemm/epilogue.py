"""What is done to a tile of C after its last multiply-add, while it is still in the nearest cache.

C = activation(C + bias) + residual. Each step is a pass over a tile of a few kilobytes in L1; the
same steps over the whole of C would each be a trip to memory.
"""

from __future__ import annotations

from collections import namedtuple

from tinytorch.native import vmath
from tinytorch.native.codecache import jit
from tinytorch.native.gemm.pointers import at
from tinytorch.native.simd import like, select

ACTIVATIONS = {"none": 0, "relu": 1, "gelu": 2}

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
def _add(c, row, width):
    for j in range(width):
        c[j] += row[j]


@jit
def _relu(c, width):
    for j in range(width):
        zero = like(c[j], 0.0)
        c[j] = select(c[j] < zero, zero, c[j])  # a NaN stays


@jit
def _gelu(c, width):
    for j in range(width):
        c[j] = vmath.gelu_tanh(c[j])


def apply(c, c_row, rows, width, bias, has_bias, residual, residual_row, has_residual, activation):
    """Finish `rows` x `width` elements of C in place; c is the first one's address."""
    for i in range(rows):
        row = at(c, i * c_row)
        if has_bias != 0:
            _add(row, bias, width)
        if activation == 1:
            _relu(row, width)
        elif activation == 2:
            _gelu(row, width)
        if has_residual != 0:
            _add(row, at(residual, i * residual_row), width)
