"""Row by row in plain Python: the definition (in float64)."""

import math

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel


def _row(y, dy):
    total = sum(dy)
    return [b - math.exp(a) * total for a, b in zip(y, dy, strict=True)]


@kernel("log_softmax_gradient", interpreted=True)
def naive(y, dy, out=None):
    out = destination("log_softmax_gradient", (y, dy), out)
    if y.size:
        rows = (a.reshape(-1, a.shape[-1]).tolist() for a in (y, dy))
        out.flat = [v for pair in zip(*rows, strict=True) for v in _row(*pair)]
    return out
