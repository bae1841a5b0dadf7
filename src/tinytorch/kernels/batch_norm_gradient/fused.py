"""Two walks, each fused: both sums of every row (a channel of an image), then dx.

x and dy are read twice and dx is written: five passes where the rung below has a dozen. The sums of
rows become a channel's in float64, a number an image.
"""

import numpy as np

from tinytorch.fuse import fuse
from tinytorch.kernels.channel_moments.fused import ROWS
from tinytorch.kernels.outputs import destinations
from tinytorch.kernels.registry import kernel
from tinytorch.ops.batch_norm import EPS


@fuse(rigid=True)
def row_sums(x, dy, mean, scale):
    n = (x - mean[:, None]) * scale[:, None]
    return (dy * n).sum(axis=-1), dy.sum(axis=-1)


@fuse(rigid=True)
def slope(x, dy, mean, along, level, factor):
    return (dy - level[:, None] - (x - mean[:, None]) * along[:, None]) * factor[:, None]


@fuse(rigid=True)
def fixed_slope(dy, factor):
    return dy * factor[:, None]


@kernel(
    "batch_norm_gradient", above="unfused", support=ROWS, reuses_out=True, worthwhile_from=1 << 13
)
def fused(x, mean, variance, gain, dy, out=None, eps=EPS, batch=True):
    arrays = x, mean, variance, gain, dy
    dx, dgain, dbias = outputs = destinations(
        "batch_norm_gradient", arrays, out, eps=eps, batch=batch
    )
    if not x.size:
        dgain[...] = dbias[...] = 0
        return outputs
    x, mean, variance, gain, dy = (np.ascontiguousarray(a) for a in arrays)
    scale = 1 / np.sqrt(variance + x.dtype.type(eps))
    along, level = (a.sum(axis=0, dtype=np.float64) for a in row_sums(x, dy, mean, scale))
    if batch:
        count = x.shape[0] * x.shape[2]
        means = [(a / count).astype(x.dtype) for a in (along * scale, level)]
        slope(x, dy, mean, *means, gain * scale, out=dx)
    else:
        fixed_slope(dy, gain * scale, out=dx)
    dgain[...], dbias[...] = along, level
    return outputs
