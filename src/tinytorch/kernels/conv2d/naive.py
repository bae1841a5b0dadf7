"""Loops in plain Python: one pixel of one output after the other, its patch, its sum, its bias.

The definition: float64 throughout, and the interpreter's cost at every multiply-add.
"""

import math

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.patches import im2col
from tinytorch.kernels.registry import kernel


@kernel("conv2d", interpreted=True)
def naive(x, w, b, out=None, stride=1, padding=0, activation="none"):
    params = {"stride": stride, "padding": padding, "activation": activation}
    result = destination("conv2d", (x, w, b), out, **params)
    if not result.size:
        return result
    weights, biases = w.reshape(len(w), -1).tolist(), b.tolist()
    shape = (x.shape[0], *result.shape[2:], len(w))
    values = [
        sum(map(float.__mul__, patch, row)) + bias
        for patch in im2col(x, w.shape[2:], stride, padding).tolist()
        for row, bias in zip(weights, biases, strict=True)
    ]
    if activation == "relu":
        values = [z if math.isnan(z) else max(z, 0.0) for z in values]
    result[...] = np.array(values, np.float64).reshape(shape).transpose(0, 3, 1, 2)
    return result
