"""The library's product of weights and gradients, then all patches added up (col2im).

The product runs at the library's speed; but the patches' gradients are kh kw times as large as the
images, are written to memory, and are read again in as many passes to be added up.
"""

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.conv2d_input_gradient import geometry


@kernel("conv2d_input_gradient", above="naive")
def unfused(dy, w, out=None, stride=1, padding=0, input_size=None):
    params = {"stride": stride, "padding": padding, "input_size": input_size}
    result = destination("conv2d_input_gradient", (dy, w), out, **params)
    if not result.size:
        return result
    found = geometry(dy.shape, w.shape, **params)
    (n, c), (oh, ow) = found.images[:2], found.output
    flat = np.matmul(w.reshape(len(w), found.patch).T, dy.reshape(n, len(w), oh * ow))
    patches = flat.reshape(n, c, *found.kernel, oh, ow)
    roomy = found.padded(np.zeros(found.images, result.dtype))
    for i, j, pixels in found.places():
        roomy[pixels] += patches[:, :, i, j]
    result[...] = found.cropped(roomy)
    return result
