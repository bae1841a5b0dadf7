"""Row by row in plain Python: the definition (in float64)."""

import math

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.cross_entropy import checked_labels


def _row(values, label, scale):
    largest = max(values)
    powers = [math.exp(v - largest) for v in values]
    total = sum(powers)
    return [(p / total - (i == label)) * scale for i, p in enumerate(powers)]


@kernel("cross_entropy_gradient", interpreted=True)
def naive(logits, labels, out=None, scale=1.0):
    out = destination("cross_entropy_gradient", (logits, labels), out, scale=scale)
    checked_labels("cross_entropy_gradient", labels, logits.shape[1])
    each = scale / max(1, labels.size)
    rows = zip(logits.tolist(), labels.tolist(), strict=True)
    out.flat = [v for row, label in rows for v in _row(row, label, each)]
    return out
