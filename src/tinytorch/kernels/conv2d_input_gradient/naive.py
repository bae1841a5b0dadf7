"""Loops in plain Python: each patch's share of the gradient, added where the patch lies.

The definition: float64 throughout, and the interpreter's cost at every multiply-add.
"""

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.patches import col2im
from tinytorch.kernels.registry import kernel
from tinytorch.ops.conv2d_input_gradient import geometry


@kernel("conv2d_input_gradient", interpreted=True)
def naive(dy, w, out=None, stride=1, padding=0, input_size=None):
    params = {"stride": stride, "padding": padding, "input_size": input_size}
    result = destination("conv2d_input_gradient", (dy, w), out, **params)
    if not result.size:
        return result
    found = geometry(dy.shape, w.shape, **params)
    elements = w.reshape(len(w), found.patch).T.tolist()
    count = len(dy) * found.output[0] * found.output[1]
    pixels = dy.transpose(0, 2, 3, 1).reshape(count, len(w)).tolist()
    patches = [
        [float(sum(map(float.__mul__, pixel, element))) for element in elements] for pixel in pixels
    ]
    cols = np.array(patches, np.float64).reshape(count, found.patch)
    result[...] = col2im(cols, found.images, found.kernel, stride, padding)
    return result
