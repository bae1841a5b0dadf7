"""Patches packed straight from the images, transposed in registers, into the blocks of our product.

Neither the patch matrix nor a copy of the gradient is stored: the gradient's rows are read where
they lie. Few weights from many images are summed in chunks of the batch, one for each thread at a
time, and added up in an order that does not depend on the threads.
"""

from tinytorch.kernels import convolution
from tinytorch.kernels.registry import kernel


@kernel("conv2d_weight_gradient", above="unfused", reuses_out=True)
def packed(x, dy, out=None, stride=1, padding=0, kernel_size=None):
    how = {"stride": stride, "padding": padding, "kernel_size": kernel_size}
    return convolution.run("conv2d_weight_gradient", (x, dy), out, **how)
