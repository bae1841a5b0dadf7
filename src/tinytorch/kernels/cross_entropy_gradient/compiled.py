"""All steps of a row in one compiled loop: one call where NumPy needs a dozen, one array written.

As in the loss: for a training step's few rows the calls are what costs.
"""

import numpy as np

from tinytorch.kernels.cross_entropy.compiled import are_classes, largest_of
from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.native import vmath
from tinytorch.native.codecache import jit
from tinytorch.ops.cross_entropy import checked_labels


@jit
def gradient(logits, labels, each, out):
    if not are_classes(labels, logits.shape[1]):
        return False
    for i in range(logits.shape[0]):
        row, slope = logits[i], out[i]
        largest = largest_of(row)
        total = 0.0
        for j in range(row.size):
            power = vmath.exp(row[j] - largest)
            slope[j] = power
            total += power
        label = labels[i]
        share = slope[label] / total
        factor = each / total
        for j in range(row.size):
            slope[j] *= factor
        slope[label] = (share - 1.0) * each
    return True


@kernel("cross_entropy_gradient", above="unfused")
def compiled(logits, labels, out=None, scale=1.0):
    result = destination("cross_entropy_gradient", (logits, labels), out, scale=scale)
    if labels.size:
        # The logits are read again after the first of `out` is written, which may be the logits.
        target = result if out is None else np.empty(result.shape, result.dtype)
        numbers = np.ascontiguousarray(labels, np.int64)
        each = scale / labels.size
        if not gradient(np.ascontiguousarray(logits), numbers, each, target):
            checked_labels("cross_entropy_gradient", numbers, logits.shape[1])
        if target is not result:
            result[...] = target
    return result
