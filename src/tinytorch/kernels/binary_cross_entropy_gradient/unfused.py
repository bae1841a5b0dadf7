"""NumPy, one array operation a step: six passes, five temporaries."""

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.binary_cross_entropy_gradient import LEAST


@kernel("binary_cross_entropy_gradient", above="naive", dtypes=None)
def unfused(p, t, out=None, scale=1.0):
    if out is not None:
        out = destination("binary_cross_entropy_gradient", (p, t), out, scale=scale)
    slope = (p - t) / np.maximum(p * (1 - p), LEAST)
    return np.asarray(np.multiply(slope, scale, out=out))
