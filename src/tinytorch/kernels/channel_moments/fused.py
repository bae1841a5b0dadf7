"""A channel of an image is a row: its mean and squares fused, with the second walk in cache.

So memory is read once, and nothing of its size written. Rows' moments become a channel's by Chan,
Golub and LeVeque's sum (1979): squares about a row's own mean, plus that mean's squared distance
from the channel's, in float64. The mean of what is left of a row after its mean was taken off (0,
but for rounding) corrects both.
"""

import numpy as np

from tinytorch.fuse import fuse
from tinytorch.kernels.outputs import destinations
from tinytorch.kernels.registry import kernel


@fuse(rigid=True)
def row_moments(x):
    mean = x.mean(axis=-1)
    away = x - mean[..., None]
    return mean, away.mean(axis=-1), (away * away).mean(axis=-1)


@kernel("channel_moments", above="unfused", worthwhile_from=1 << 12)
def fused(x, out=None):
    means, variances = outputs = destinations("channel_moments", (x,), out)
    if not x.size:
        means[...] = variances[...] = 0
        return outputs
    mean, rest, square = (a.astype(np.float64) for a in row_moments(np.ascontiguousarray(x)))
    mean += rest
    square -= rest * rest
    centre = mean.mean(axis=0)
    means[...] = centre
    variances[...] = (square + (mean - centre) ** 2).mean(axis=0)
    return outputs
