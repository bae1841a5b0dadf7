"""What a layer does to rows beside its products: layer norm of a sum, and activations, in place.

Each is a pass over a block of rows that lies in the second cache, with whole vectors throughout.
"""

from __future__ import annotations

import math

from tinytorch.native import vmath
from tinytorch.native.codecache import REASSOCIATE, jit
from tinytorch.native.simd import like, select


@jit(flags=REASSOCIATE)
def _add_up(y, x, bias, width):
    """Write y + x + bias to y, and return the sum of it."""
    total = like(y[0], 0.0)
    for j in range(width):
        value = y[j] + x[j] + bias[j]
        y[j] = value
        total += value
    return total


@jit(flags=REASSOCIATE)
def add_bias(y, bias, width):
    """Write y + bias to y, and return the sum of it."""
    total = like(y[0], 0.0)
    for j in range(width):
        value = y[j] + bias[j]
        y[j] = value
        total += value
    return total


@jit(flags=REASSOCIATE)
def squares(y, mean, width):
    """Return the sum of the squared distances from the mean."""
    total = like(mean, 0.0)
    for j in range(width):
        apart = y[j] - mean
        total += apart * apart
    return total


@jit
def _scale(y, mean, factor, gain, shift, width, out):
    for j in range(width):
        out[j] = (y[j] - mean) * factor * gain[j] + shift[j]


@jit
def normalise(y, x, bias, width, norm, out):
    """Write the layer norm of y + x + bias to `out`, which may be x; y is lost.

    norm: (gain, shift, eps), the first two by address.
    """
    gain, shift, eps = norm
    count = like(y[0], width)
    mean = _add_up(y, x, bias, width) / count
    spread = squares(y, mean, width) / count + like(mean, eps)
    _scale(y, mean, like(mean, 1.0) / like(mean, math.sqrt(spread)), gain, shift, width, out)


@jit
def activate(row, bias, width, activation):
    """Write activation(row + bias) to the row; activations by their numbers in an epilogue."""
    if activation == 2:
        for j in range(width):
            row[j] = vmath.gelu_tanh(row[j] + bias[j])
    elif activation == 3:
        for j in range(width):
            row[j] = vmath.gelu_erf(row[j] + bias[j])
    elif activation == 1:
        for j in range(width):
            x = row[j] + bias[j]
            zero = like(x, 0.0)
            row[j] = select(x < zero, zero, x)  # a NaN stays
    else:
        for j in range(width):
            row[j] += bias[j]


@jit
def copy(source, width, out):
    """Copy a row."""
    for j in range(width):
        out[j] = source[j]


@jit
def scaled(source, bias, width, factor, out):
    """Write (source + bias) * factor to `out`."""
    for j in range(width):
        out[j] = (source[j] + bias[j]) * factor


@jit
def add(source, width, out):
    """Add a row to another."""
    for j in range(width):
        out[j] += source[j]
