"""Query by query in plain Python, over the keys that the mask keeps (in float64)."""

import numpy as np

from tinytorch.kernels.attention.naive import each_query
from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel


@kernel("masked_attention", interpreted=True)
def naive(q, k, v, mask, out=None, causal=False, scale=None):
    result = destination("masked_attention", (q, k, v, mask), out, causal=causal, scale=scale)
    Tq, Tk = q.shape[-2], k.shape[-2]
    shift = Tk - Tq if causal else Tk
    seen = np.broadcast_to(mask != 0, (*result.shape[:-2], Tq, Tk))
    return each_query(result, (q, k, v), lambda b, i, j: seen[(*b, i, j)] and j <= i + shift, scale)
