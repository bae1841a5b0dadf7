"""All steps of a row in one compiled loop: one call where NumPy needs a dozen, nothing allocated.

For a training step's few rows the calls are what costs: 64 rows of 10 are a microsecond or two of
arithmetic. One element after the other and on one thread, so large logits are not its business.
"""

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.native import vmath
from tinytorch.native.codecache import jit
from tinytorch.ops.cross_entropy import checked_labels


@jit
def largest_of(row):
    """Return the largest number; a NaN is found by the sum of exponentials."""
    largest = row[0]
    for j in range(1, row.size):
        largest = max(largest, row[j])
    return largest


@jit
def are_classes(labels, count):
    """Say whether all labels are classes: one call of NumPy for that costs as much as the loss."""
    for label in labels:  # noqa: SIM110  (Numba has no all() of a generator)
        if label < 0 or label >= count:
            return False
    return True


@jit
def mean_loss(logits, labels, out):
    if not are_classes(labels, logits.shape[1]):
        return False
    loss = 0.0
    for i in range(logits.shape[0]):
        row = logits[i]
        largest = largest_of(row)
        total = 0.0
        for j in range(row.size):
            total += vmath.exp(row[j] - largest)
        loss += np.log(total) - (np.float64(row[labels[i]]) - np.float64(largest))
    out[0] = loss / logits.shape[0]
    return True


@kernel("cross_entropy", above="unfused", reuses_out=True)
def compiled(logits, labels, out=None):
    out = destination("cross_entropy", (logits, labels), out)
    if not labels.size:
        out[...] = np.nan
        return out
    numbers = np.ascontiguousarray(labels, np.int64)
    if not mean_loss(np.ascontiguousarray(logits), numbers, out.reshape(1)):
        checked_labels("cross_entropy", numbers, logits.shape[1])
    return out
