"""The convolution's own loops run backwards: no patch is written, and no pixel is added to twice.

A pixel's gradient is a sum over the patches that hold it: a convolution of the output's gradient
with the weights turned round, channels and outputs exchanged. With a stride, the pixels of each
remainder meet their own elements of the kernel, so each remainder is a convolution of its own, and
no zeros are multiplied.
"""

import numpy as np

from tinytorch.kernels.convolution import by_elements, window, written
from tinytorch.kernels.gemm import cache_bytes
from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.native.conv import product
from tinytorch.ops.conv2d_input_gradient import geometry


@kernel("conv2d_input_gradient", above="unfused", reuses_out=True)
def packed(dy, w, out=None, stride=1, padding=0, input_size=None):
    params = {"stride": stride, "padding": padding, "input_size": input_size}
    result = destination("conv2d_input_gradient", (dy, w), out, **params)
    numbers = window(geometry(dy.shape, w.shape, **params), len(w))
    gradient, weights = by_elements(dy), np.ascontiguousarray(w)

    def write(target):
        product.input_gradient(gradient, weights, target, numbers, cache_bytes())

    return written(result, (dy, w), out is not None, write)
