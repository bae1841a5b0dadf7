"""Query by query in plain Python, over the keys that the mask keeps (in float64)."""

import numpy as np

from tinytorch.kernels.attention.naive import each_query, sees_until
from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel


def sees_kept(q, k, mask, causal, batch):
    """Return the test of each_query for the keys that the mask keeps, and `causal` too."""
    seen = np.broadcast_to(mask != 0, (*batch, q.shape[-2], k.shape[-2]))
    until = sees_until(q, k, causal)
    return lambda index, i, j: seen[(*index, i, j)] and until(index, i, j)


@kernel("masked_attention", interpreted=True)
def naive(q, k, v, mask, out=None, causal=False, scale=None):
    result = destination("masked_attention", (q, k, v, mask), out, causal=causal, scale=scale)
    return each_query(result, (q, k, v), sees_kept(q, k, mask, causal, result.shape[:-2]), scale)
