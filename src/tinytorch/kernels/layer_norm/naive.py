"""Row by row in plain Python: the definition (in float64)."""

import math

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.layer_norm import EPS


def _row(values, gain, bias, eps):
    mean = sum(values) / len(values)
    variance = sum((v - mean) ** 2 for v in values) / len(values)
    deviation = math.sqrt(variance + eps)
    return [(v - mean) / deviation * g + b for v, g, b in zip(values, gain, bias, strict=True)]


@kernel("layer_norm", interpreted=True)
def naive(x, gain, bias, out=None, eps=EPS):
    out = destination("layer_norm", (x, gain, bias), out, eps=eps)
    if x.size:
        gains, biases = gain.tolist(), bias.tolist()
        rows = x.reshape(-1, x.shape[-1]).tolist()
        out.flat = [v for row in rows for v in _row(row, gains, biases, eps)]
    return out
