"""Loops in plain Python: one window after the other, its gradient added to its largest pixel.

The definition: float64 throughout, and the interpreter's cost at every comparison.
"""

import math

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.patches import windows
from tinytorch.kernels.registry import kernel
from tinytorch.ops.windows import pooling


@kernel("max_pool2d_gradient", interpreted=True)
def naive(x, dy, out=None, kernel_size=2, stride=None, padding=0):
    how = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
    found = pooling(x.shape, kernel_size, stride, padding)
    result = destination("max_pool2d_gradient", (x, dy), out, **how)
    if not result.size:
        return result
    places = windows(np.arange(x[0, 0].size).reshape(1, 1, *x.shape[2:]), found.of_one(), -1)
    total = [[0.0] * x[0, 0].size for _ in range(len(x) * x.shape[1])]
    planes = zip(
        total, x.reshape(len(total), -1).tolist(), dy.reshape(len(total), -1).tolist(), strict=True
    )
    for sums, pixels, gradients in planes:
        for window, gradient in zip(places.tolist(), gradients, strict=True):
            inside = [place for place in window if place >= 0]
            sums[max(inside, key=lambda i: (math.isnan(pixels[i]), pixels[i]))] += gradient
    result[...] = np.array(total, np.float64).reshape(result.shape)
    return result
