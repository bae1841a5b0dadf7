"""Patches packed straight from the images into the blocks of our product, as they are needed.

The patch matrix is never stored: a block of it is gathered by vectors into the second cache, used
by every output channel there, and gone. That saves writing and reading kh kw times the images, and
bias and activation are done to each tile of the output while it is in the first cache. The price:
images are laid out anew (border, stride undone) before, one copy of them.
"""

import numpy as np

from tinytorch.kernels.convolution import by_elements, window, written
from tinytorch.kernels.gemm import cache_bytes
from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.native.conv import product
from tinytorch.ops.conv2d import geometry


@kernel("conv2d", above="unfused", reuses_out=True)
def packed(x, w, b, out=None, stride=1, padding=0, activation="none"):
    params = {"stride": stride, "padding": padding, "activation": activation}
    result = destination("conv2d", (x, w, b), out, **params)
    numbers = window(geometry(x.shape, w.shape, stride, padding), len(w))
    images, weights, bias = by_elements(x), np.ascontiguousarray(w), np.ascontiguousarray(b)

    def write(target):
        product.forward(
            (images, weights, bias), target, numbers, cache_bytes(), relu=activation == "relu"
        )

    return written(result, (x, w, b), out is not None, write)
