"""One NumPy maximum for each element of the window, over all windows at once.

No interpreter at the pixels; but the output is read and written kh kw times, and the images are
read with a stride, and copied first where there is a border.
"""

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.windows import pooling


@kernel("max_pool2d", above="naive")
def unfused(x, out=None, kernel_size=2, stride=None, padding=0):
    how = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
    found = pooling(x.shape, kernel_size, stride, padding)
    result = destination("max_pool2d", (x,), out, **how)
    if not result.size:
        return result
    roomy = found.padded(x, -np.inf) if any(found.padding) else x
    best = np.full(result.shape, -np.inf, result.dtype)
    for _, _, pixels in found.places():
        np.maximum(best, roomy[pixels], out=best)
    result[...] = best
    return result
