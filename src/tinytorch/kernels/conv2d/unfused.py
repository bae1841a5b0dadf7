"""Patches written out as columns (im2col), the library's product, then bias and activation.

The product runs at the library's speed; but the patch matrix is kh kw times as large as the images,
is written to memory and read again, and bias and activation are passes over the output.
"""

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.patches import columns
from tinytorch.kernels.registry import kernel
from tinytorch.ops.conv2d import geometry


@kernel("conv2d", above="naive")
def unfused(x, w, b, out=None, stride=1, padding=0, activation="none"):
    params = {"stride": stride, "padding": padding, "activation": activation}
    target = destination("conv2d", (x, w, b), out, **params)
    if not target.size:
        return target
    cols = columns(x, geometry(x.shape, w.shape, stride, padding))
    product = np.matmul(w.reshape(len(w), -1), cols).reshape(target.shape)
    result = product + b[:, None, None]
    target[...] = np.maximum(result, 0) if activation == "relu" else result
    return target
