"""All windows written out, the largest of each found by NumPy, its gradient added tap by tap.

No interpreter at the pixels; but kh kw copies of the images are written and read, several times.
"""

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.windows import pooling


@kernel("max_pool2d_gradient", above="naive")
def unfused(x, dy, out=None, kernel_size=2, stride=None, padding=0):
    how = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
    found = pooling(x.shape, kernel_size, stride, padding)
    result = destination("max_pool2d_gradient", (x, dy), out, **how)
    if not result.size:
        return result
    roomy = found.padded(x, -np.inf)
    taps = np.stack([roomy[pixels] for _, _, pixels in found.places()])
    inside = found.padded(np.ones(x.shape, bool), False)
    real = np.stack([inside[pixels] for _, _, pixels in found.places()])
    first = np.argmax(((taps == taps.max(axis=0)) | np.isnan(taps)) & real, axis=0)
    total = np.zeros(roomy.shape, result.dtype)
    for tap, (_, _, pixels) in enumerate(found.places()):
        total[pixels] += np.where(first == tap, dy, 0)
    result[...] = found.cropped(total)
    return result
