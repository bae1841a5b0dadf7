"""Row by row in plain Python: the definition (in float64)."""

import math

import numpy as np

from tinytorch.kernels.outputs import destinations
from tinytorch.kernels.registry import kernel
from tinytorch.ops.layer_norm import EPS


def _mean(values):
    return sum(values) / len(values)


def _row(x, gain, dy, eps):
    mean = _mean(x)
    scale = 1.0 / math.sqrt(_mean([(v - mean) ** 2 for v in x]) + eps)
    n = [(v - mean) * scale for v in x]
    h = [g * d for g, d in zip(gain, dy, strict=True)]
    level = _mean(h)
    along = _mean([a * b for a, b in zip(h, n, strict=True)])
    dx = [scale * (a - level - b * along) for a, b in zip(h, n, strict=True)]
    return dx, [d * b for d, b in zip(dy, n, strict=True)]


@kernel("layer_norm_gradient", interpreted=True)
def naive(x, gain, dy, out=None, eps=EPS):
    name = "layer_norm_gradient"
    outputs = destinations(name, (x, gain, dy), out, eps=eps)
    if not x.size:
        outputs[1][...] = outputs[2][...] = 0
        return outputs
    width = x.shape[-1]
    rows = zip(x.reshape(-1, width).tolist(), dy.reshape(-1, width).tolist(), strict=True)
    gains = gain.tolist()
    found, gain_sums, bias_sums = [], [0.0] * width, [0.0] * width
    for row, d in rows:
        one, products = _row(row, gains, d, eps)
        found += one
        gain_sums = list(map(float.__add__, gain_sums, products))
        bias_sums = list(map(float.__add__, bias_sums, d))
    for one, values in zip(outputs, (found, gain_sums, bias_sums), strict=True):
        one[...] = np.array(values).reshape(one.shape)
    return outputs
