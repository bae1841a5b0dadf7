"""The convolution's own loops run backwards: no patch is written, and no pixel is added to twice.

A pixel's gradient is a sum over the patches that hold it: a convolution of the output's gradient
with the weights turned round, channels and outputs exchanged. With a stride, the pixels of each
remainder meet their own elements of the kernel, so each remainder is a convolution of its own, and
no zeros are multiplied.
"""

from tinytorch.kernels import convolution
from tinytorch.kernels.registry import kernel


@kernel("conv2d_input_gradient", above="unfused", reuses_out=True)
def packed(dy, w, out=None, stride=1, padding=0, input_size=None):
    how = {"stride": stride, "padding": padding, "input_size": input_size}
    return convolution.run("conv2d_input_gradient", (dy, w), out, **how)
