"""Row by row in plain Python: the definition (in float64)."""

import math

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.rms_norm import EPS


def _row(values, gain, eps):
    root = math.sqrt(sum(v * v for v in values) / len(values) + eps)
    return [v / root * g for v, g in zip(values, gain, strict=True)]


@kernel("rms_norm", interpreted=True)
def naive(x, gain, out=None, eps=EPS):
    out = destination("rms_norm", (x, gain), out, eps=eps)
    if x.size:
        gains = gain.tolist()
        out.flat = [v for row in x.reshape(-1, x.shape[-1]).tolist() for v in _row(row, gains, eps)]
    return out
