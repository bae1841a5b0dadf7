"""One NumPy addition for each element of the window, over all windows at once.

No interpreter at the pixels; but the images' gradient is read and written kh kw times, strided.
"""

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.windows import pooled_from


@kernel("avg_pool2d_gradient", above="naive")
def unfused(dy, out=None, kernel_size=2, stride=None, padding=0, input_size=None):
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
    total = found.padded(np.zeros(result.shape, result.dtype))
    shared = dy / (found.kernel[0] * found.kernel[1])
    for _, _, pixels in found.places():
        total[pixels] += shared
    result[...] = found.cropped(total)
    return result
