"""Loops in plain Python: codes of a row, codes of a column, their products, their sum.

The definition. Integers all the way to the sum; then both scales, the bias, the activation.
"""

import math

import numpy as np

from tinytorch.kernels.linear.naive import activated
from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel


def _row_codes(row):
    low, high = min([0.0, *row]), max([0.0, *row])
    scale = (high - low) / 255 or 1.0
    zero = round(-low / scale)
    return [min(max(round(x / scale) + zero, 0), 255) - zero for x in row], scale


def _column_codes(column):
    scale = max([0.0, *map(abs, column)]) / 127 or 1.0
    return [round(w / scale) for w in column], scale


@kernel("quantized_linear", dtypes=("float32",), interpreted=True)
def naive(x, w, b, out=None, activation="none"):
    result = destination("quantized_linear", (x, w, b), out, activation=activation)
    columns, biases = [_column_codes(column) for column in w.T.tolist()], b.tolist()
    values = []
    for row in x.reshape(math.prod(x.shape[:-1]), x.shape[-1]).tolist():
        codes, scale = _row_codes(row)
        for (weights, step), bias in zip(columns, biases, strict=True):
            total = sum(map(int.__mul__, codes, weights))
            values.append(activated(total * scale * step + bias, activation))
    result[...] = np.array(values, np.float64).reshape(result.shape)
    return result
