"""NumPy, one array operation a step: the exponentials and their products are temporaries."""

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel


@kernel("log_softmax_gradient", above="naive")
def unfused(y, dy, out=None):
    target = destination("log_softmax_gradient", (y, dy), out)
    return np.subtract(dy, np.exp(y) * dy.sum(axis=-1, keepdims=True), out=target)
