"""dx fused, a row at a time, with the products for the gain's sum beside it.

Four walks over a pair of rows in cache. The sums over rows are left to NumPy: they run down the
columns, where the walk runs along the rows, so the products are written once and read once more.
"""

import numpy as np

from tinytorch.fuse import fuse
from tinytorch.kernels.outputs import destinations
from tinytorch.kernels.registry import kernel
from tinytorch.ops.layer_norm import EPS


@fuse(rigid=True)
def row_gradient(x, dy, gain, eps):
    centred = x - x.mean(axis=-1, keepdims=True)
    scale = 1 / np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + eps)
    n = centred * scale
    h = dy * gain
    level = h.mean(axis=-1, keepdims=True)
    along = (h * n).mean(axis=-1, keepdims=True)
    return scale * (h - level - n * along), dy * n


@kernel("layer_norm_gradient", above="unfused", reuses_out=True)
def fused(x, gain, dy, out=None, eps=EPS):
    name = "layer_norm_gradient"
    outputs = destinations(name, (x, gain, dy), out, eps=eps)
    dx, dgain, dbias = outputs
    if not x.size:
        dgain[...] = dbias[...] = 0
        return outputs
    width = x.shape[-1]
    rows = [np.ascontiguousarray(a).reshape(-1, width) for a in (x, dy)]
    if out is None:  # else dx may be an input, which the walk reads several times
        one, products = dx.reshape(rows[0].shape), np.empty(rows[0].shape, dx.dtype)
        row_gradient(*rows, np.ascontiguousarray(gain), eps, out=(one, products))
    else:
        one, products = row_gradient(*rows, np.ascontiguousarray(gain), eps)
        dx[...] = one.reshape(dx.shape)
    bias_sum = np.add.reduce(rows[1], axis=0)
    dgain[...] = np.add.reduce(products, axis=0)
    dbias[...] = bias_sum
    return outputs
