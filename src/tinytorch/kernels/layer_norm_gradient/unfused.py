"""NumPy, one array operation a step: some twenty passes over arrays as large as x."""

import numpy as np

from tinytorch.kernels.outputs import destinations
from tinytorch.kernels.registry import kernel
from tinytorch.ops.layer_norm import EPS


@kernel("layer_norm_gradient", above="naive")
def unfused(x, gain, dy, out=None, eps=EPS):
    name = "layer_norm_gradient"
    dx, dgain, dbias = outputs = destinations(name, (x, gain, dy), out, eps=eps)
    if not x.size:
        dgain[...] = dbias[...] = 0
        return outputs
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    scale = 1 / np.sqrt(variance + x.dtype.type(eps))
    n = centred * scale
    h = dy * gain
    along = (h * n).mean(axis=-1, keepdims=True)
    products, width = dy * n, x.shape[-1]
    bias_sum = dy.reshape(-1, width).sum(axis=0)
    np.multiply(scale, h - h.mean(axis=-1, keepdims=True) - n * along, out=dx)
    dgain[...] = products.reshape(-1, width).sum(axis=0)
    dbias[...] = bias_sum
    return outputs
