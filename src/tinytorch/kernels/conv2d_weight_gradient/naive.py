"""Loops in plain Python: each weight's sum over the pixels of all images.

The definition: float64 throughout, and the interpreter's cost at every multiply-add.
"""

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.patches import im2col
from tinytorch.kernels.registry import kernel
from tinytorch.ops.conv2d_weight_gradient import geometry


@kernel("conv2d_weight_gradient", interpreted=True)
def naive(x, dy, out=None, stride=1, padding=0, kernel_size=None):
    params = {"stride": stride, "padding": padding, "kernel_size": kernel_size}
    result = destination("conv2d_weight_gradient", (x, dy), out, **params)
    if not result.size:
        return result
    found = geometry(x.shape, dy.shape, **params)
    elements = im2col(x, found.kernel, stride, padding).T.tolist()
    outputs = dy.transpose(1, 0, 2, 3).reshape(dy.shape[1], -1).tolist()
    values = [sum(map(float.__mul__, o, element)) for o in outputs for element in elements]
    result[...] = np.array(values, np.float64).reshape(result.shape)
    return result
