"""Loops in plain Python: one window after the other, the sum of its pixels, divided.

The definition: float64 throughout, and the interpreter's cost at every addition.
"""

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.patches import windows
from tinytorch.kernels.registry import kernel
from tinytorch.ops.windows import pooling


@kernel("avg_pool2d", interpreted=True)
def naive(x, out=None, kernel_size=2, stride=None, padding=0):
    how = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
    found = pooling(x.shape, kernel_size, stride, padding)
    result = destination("avg_pool2d", (x,), out, **how)
    if not result.size:
        return result
    count = found.kernel[0] * found.kernel[1]
    values = [sum(window) / count for window in windows(x, found, 0.0).tolist()]
    result[...] = np.array(values, np.float64).reshape(result.shape)
    return result
