"""A channel of an image is a row: its mean and squares fused, with the second walk in cache.

So memory is read once, and nothing of its size written. Rows' moments become a channel's by Chan,
Golub and LeVeque's sum (1979): squares about a row's own mean, plus that mean's squared distance
from the channel's, in float64. The mean of what is left of a row after its mean was taken off (0,
but for rounding) corrects both.
"""

import numpy as np

from tinytorch.fuse import fuse
from tinytorch.kernels.outputs import destinations
from tinytorch.kernels.registry import Support, kernel

# NOTE: a row of one pixel costs a walk of its own, where NumPy adds such rows up side by side.
ROWS = Support("images of two pixels or more", lambda arrays: arrays[0].shape[2] > 1)


@fuse(rigid=True)
def row_moments(x):
    mean = x.mean(axis=-1)
    away = x - mean[..., None]
    return mean, away.mean(axis=-1), (away * away).mean(axis=-1)


@kernel("channel_moments", above="unfused", support=ROWS, worthwhile_from=1 << 13)
def fused(x, out=None):
    means, variances = outputs = destinations("channel_moments", (x,), out)
    if not x.size:
        means[...] = variances[...] = 0
        return outputs
    mean, rest, square = (a.astype(np.float64) for a in row_moments(np.ascontiguousarray(x)))
    mean += rest
    square -= rest * rest
    images = x.shape[0]
    centre = np.add.reduce(mean, axis=0) / images
    mean -= centre
    square += mean * mean
    means[...] = centre
    np.divide(np.add.reduce(square, axis=0), images, out=variances, casting="same_kind")
    return outputs
