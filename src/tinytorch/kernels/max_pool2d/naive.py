"""Loops in plain Python: one window after the other, and the largest of its pixels.

The definition: the interpreter's cost at every comparison.
"""

import math

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.patches import windows
from tinytorch.kernels.registry import kernel
from tinytorch.ops.windows import pooling


@kernel("max_pool2d", interpreted=True)
def naive(x, out=None, kernel_size=2, stride=None, padding=0):
    how = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
    found = pooling(x.shape, kernel_size, stride, padding)
    result = destination("max_pool2d", (x,), out, **how)
    if not result.size:
        return result
    values = [
        max(window, key=lambda value: (math.isnan(value), value))
        for window in windows(x, found, -math.inf).tolist()
    ]
    result[...] = np.array(values, np.float64).reshape(result.shape)
    return result
