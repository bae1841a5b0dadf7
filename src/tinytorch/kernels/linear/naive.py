"""Loops in plain Python: one output after the other, its sum, its bias, its activation.

The definition: float64 throughout, and the interpreter's cost at every multiply-add.
"""

import math

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.gelu import CUBIC, SQRT_2_OVER_PI


def activated(z, activation):
    """Return an activation of one number."""
    if activation == "relu":
        return z if math.isnan(z) else max(z, 0.0)
    if activation == "gelu_erf":
        return 0.5 * z * (1.0 + math.erf(z / math.sqrt(2.0)))
    if activation == "gelu":
        return 0.5 * z * (1.0 + math.tanh(SQRT_2_OVER_PI * (z + CUBIC * z * z * z)))
    return z


@kernel("linear", interpreted=True)
def naive(x, w, b, out=None, activation="none"):
    result = destination("linear", (x, w, b), out, activation=activation)
    columns, biases = w.T.tolist(), b.tolist()
    values = [
        activated(sum(map(float.__mul__, row, column)) + bias, activation)
        for row in x.reshape(math.prod(x.shape[:-1]), x.shape[-1]).tolist()
        for column, bias in zip(columns, biases, strict=True)
    ]
    result[...] = np.array(values, np.float64).reshape(result.shape)
    return result
