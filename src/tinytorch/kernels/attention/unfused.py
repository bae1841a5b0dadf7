"""NumPy: all scores in one matrix, softmax over it step by step, then the product with the values.

The products are the library's best, but every step of the softmax walks over a matrix of Tq x Tk
scores a head, which for long sequences is larger than any cache and than all the inputs; and what a
causal mask hides is computed like the rest.
"""

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.attention import kept, scale_for


def weighted(q, k, v, keep, scale):
    """Return softmax(scale * q kᵀ where `keep`) v and the logs; zeros where nothing is kept."""
    scores = np.matmul(q, np.swapaxes(k, -1, -2)) * q.dtype.type(scale_for(q.shape[-1], scale))
    if keep is not None:
        scores = np.where(keep, scores, q.dtype.type(-np.inf))
    largest = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    powers = np.exp(scores - np.where(largest == -np.inf, q.dtype.type(0), largest))
    total = powers.sum(axis=-1, keepdims=True)
    with np.errstate(divide="ignore"):
        logs = largest + np.log(total)
    return np.matmul(powers / np.where(total == 0, q.dtype.type(1), total), v), logs[..., 0]


@kernel("attention", above="naive")
def unfused(q, k, v, out=None, causal=False, scale=None):
    result = destination("attention", (q, k, v), out, causal=causal, scale=scale)
    keep = kept(q.shape[-2], k.shape[-2], True) if causal else None
    result[...] = weighted(q, k, v, keep, scale)[0]
    return result
