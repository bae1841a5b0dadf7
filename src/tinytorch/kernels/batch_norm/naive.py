"""One pixel at a time, in plain Python: the definition (in float64)."""

import math

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.batch_norm import EPS


@kernel("batch_norm", interpreted=True)
def naive(x, mean, variance, gain, bias, out=None, eps=EPS):
    out = destination("batch_norm", (x, mean, variance, gain, bias), out, eps=eps)
    factors = [
        g / math.sqrt(v + eps) for g, v in zip(gain.tolist(), variance.tolist(), strict=True)
    ]
    channels = list(zip(mean.tolist(), factors, bias.tolist(), strict=True))
    out.flat = [
        (v - m) * factor + b
        for image in x.tolist()
        for row, (m, factor, b) in zip(image, channels, strict=True)
        for v in row
    ]
    return out
