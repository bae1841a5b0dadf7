"""Patches packed straight from the images, transposed in registers, into the blocks of our product.

Neither the patch matrix nor a copy of the gradient is stored: the gradient's rows are read where
they lie. Few weights from many images are summed in chunks of the batch, one for each thread at a
time, and added up in an order that does not depend on the threads.
"""

import numpy as np

from tinytorch.kernels.convolution import by_elements, window, written
from tinytorch.kernels.gemm import cache_bytes
from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.native.conv import product
from tinytorch.ops.conv2d_weight_gradient import geometry


@kernel("conv2d_weight_gradient", above="unfused", reuses_out=True)
def packed(x, dy, out=None, stride=1, padding=0, kernel_size=None):
    params = {"stride": stride, "padding": padding, "kernel_size": kernel_size}
    result = destination("conv2d_weight_gradient", (x, dy), out, **params)
    numbers = window(geometry(x.shape, dy.shape, **params), dy.shape[1])
    images, gradient = by_elements(x), np.ascontiguousarray(dy)

    def write(target):
        product.weight_gradient(images, gradient, target, numbers, cache_bytes())

    return written(result, (x, dy), out is not None, write)
