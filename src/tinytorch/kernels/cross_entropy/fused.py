"""Each row's maximum and the logarithm of its sum, fused: the logits are read once, in two walks
of which the second finds the row in cache; nothing is written but one number a row.

What is left, picking each row's label and the mean, is N numbers.
"""

import numpy as np

from tinytorch.fuse import fuse
from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.cross_entropy import checked_labels


@fuse(rigid=True)
def log_sum_exp(x):
    largest = x.max(axis=-1)
    return largest, np.log(np.exp(x - largest[:, None]).sum(axis=-1))


@kernel("cross_entropy", above="unfused", reuses_out=True, worthwhile_from=1 << 12)
def fused(logits, labels, out=None):
    out = destination("cross_entropy", (logits, labels), out)
    checked_labels("cross_entropy", labels, logits.shape[1])
    if not labels.size:
        out[...] = np.nan
        return out
    largest, total = log_sum_exp(np.ascontiguousarray(logits))
    out[...] = (total - (logits[np.arange(labels.size), labels] - largest)).mean()
    return out
