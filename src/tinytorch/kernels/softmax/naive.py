"""Row by row in plain Python: the definition (in float64)."""

import math

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel


def _row(values):
    largest = max(values)
    powers = [math.exp(v - largest) for v in values]
    total = sum(powers)
    return [p / total for p in powers]


@kernel("softmax", interpreted=True)
def naive(x, out=None):
    out = destination("softmax", (x,), out)
    if x.size:
        rows = x.reshape(-1, x.shape[-1]).tolist()
        out.flat = [p for row in rows for p in _row(row)]
    return out
