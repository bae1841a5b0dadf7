"""Row by row in plain Python: the definition (in float64)."""

import math

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel


def _row(values):
    largest = max(values)
    total = math.log(sum(math.exp(v - largest) for v in values))
    return [v - largest - total for v in values]


@kernel("log_softmax", interpreted=True)
def naive(x, out=None):
    out = destination("log_softmax", (x,), out)
    if x.size:
        out.flat = [v for row in x.reshape(-1, x.shape[-1]).tolist() for v in _row(row)]
    return out
