"""Loops in plain Python: one window after the other, its gradient shared among its pixels.

The definition: float64 throughout, and the interpreter's cost at every addition.
"""

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.patches import windows
from tinytorch.kernels.registry import kernel
from tinytorch.ops.windows import pooled_from


@kernel("avg_pool2d_gradient", interpreted=True)
def naive(dy, out=None, kernel_size=2, stride=None, padding=0, input_size=None):
    how = {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": padding,
        "input_size": input_size,
    }
    found = pooled_from(dy.shape, kernel_size, stride, padding, input_size)
    result = destination("avg_pool2d_gradient", (dy,), out, **how)
    if not result.size:
        return result
    places = windows(
        np.arange(result[0, 0].size).reshape(1, 1, *result.shape[2:]), found.of_one(), -1
    )
    count = found.kernel[0] * found.kernel[1]
    total = [[0.0] * result[0, 0].size for _ in range(len(dy) * dy.shape[1])]
    for sums, gradients in zip(total, dy.reshape(len(total), -1).tolist(), strict=True):
        for window, gradient in zip(places.tolist(), gradients, strict=True):
            for place in window:
                if place >= 0:
                    sums[place] += gradient / count
    result[...] = np.array(total, np.float64).reshape(result.shape)
    return result
