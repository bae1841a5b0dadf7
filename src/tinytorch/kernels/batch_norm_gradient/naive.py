"""Channel by channel in plain Python: the definition (in float64)."""

import math

import numpy as np

from tinytorch.kernels.outputs import destinations
from tinytorch.kernels.registry import kernel
from tinytorch.ops.batch_norm import EPS


def _channel(x, dy, mean, scale, batch):
    n = [(v - mean) * scale for v in x]
    along, level = sum(d * v for d, v in zip(dy, n, strict=True)), sum(dy)
    count = len(x) if batch else math.inf
    slope = [scale * (d - (level + v * along) / count) for d, v in zip(dy, n, strict=True)]
    return slope, along, level


@kernel("batch_norm_gradient", interpreted=True)
def naive(x, mean, variance, gain, dy, out=None, eps=EPS, batch=True):
    arrays = x, mean, variance, gain, dy
    outputs = destinations("batch_norm_gradient", arrays, out, eps=eps, batch=batch)
    found = []
    for c in range(x.shape[1]):
        scale = 1 / math.sqrt(float(variance[c]) + eps)
        values, slopes = x[:, c].ravel().tolist(), dy[:, c].ravel().tolist()
        slope, along, level = _channel(values, slopes, float(mean[c]), scale, batch)
        found.append((np.array(slope) * float(gain[c]), along, level))
    for c, (slope, along, level) in enumerate(found):
        outputs[0][:, c] = slope.reshape(x[:, c].shape)
        outputs[1][c], outputs[2][c] = along, level
    return outputs
