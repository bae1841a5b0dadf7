"""NumPy, one array operation a step: some ten passes over arrays as large as x."""

import numpy as np

from tinytorch.kernels.channel_moments.unfused import totals
from tinytorch.kernels.outputs import destinations
from tinytorch.kernels.registry import kernel
from tinytorch.ops.batch_norm import EPS


@kernel("batch_norm_gradient", above="naive")
def unfused(x, mean, variance, gain, dy, out=None, eps=EPS, batch=True):
    arrays = x, mean, variance, gain, dy
    dx, dgain, dbias = outputs = destinations(
        "batch_norm_gradient", arrays, out, eps=eps, batch=batch
    )
    scale = 1 / np.sqrt(variance + x.dtype.type(eps))
    n = (x - mean[:, None]) * scale[:, None]
    along, level = totals(dy * n), totals(dy)
    factor = (gain * scale)[:, None]
    if batch and x.size:
        count = x.shape[0] * x.shape[2]
        n *= (along / count).astype(x.dtype)[:, None]
        n += (level / count).astype(x.dtype)[:, None]
        np.multiply(dy - n, factor, out=dx)
    else:
        np.multiply(dy, factor, out=dx)
    dgain[...], dbias[...] = along, level
    return outputs
