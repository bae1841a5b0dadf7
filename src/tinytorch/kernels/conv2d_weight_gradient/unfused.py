"""Patches written out as rows (im2col), then one product of the library over all pixels.

The product runs at the library's speed; but the patch matrix is kh kw times as large as the images,
is written to memory and read again, and the gradient is copied so that outputs are its rows.
"""

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.patches import im2col
from tinytorch.kernels.registry import kernel
from tinytorch.ops.conv2d_weight_gradient import geometry


@kernel("conv2d_weight_gradient", above="naive")
def unfused(x, dy, out=None, stride=1, padding=0, kernel_size=None):
    params = {"stride": stride, "padding": padding, "kernel_size": kernel_size}
    result = destination("conv2d_weight_gradient", (x, dy), out, **params)
    if not result.size:
        return result
    found = geometry(x.shape, dy.shape, **params)
    rows = im2col(x, found.kernel, stride, padding)
    outputs = dy.transpose(1, 0, 2, 3).reshape(dy.shape[1], -1)
    result[...] = np.matmul(outputs, rows).reshape(result.shape)
    return result
