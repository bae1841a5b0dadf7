"""Tiles as in attention: what tiles carry, largest scores and sums, makes the logs at the end.

Where the rung below would keep Tq x Tk weights for the gradient, this keeps Tq logarithms, and the
gradient makes the weights again.
"""

import numpy as np

from tinytorch.kernels.attending import attend
from tinytorch.kernels.outputs import destinations
from tinytorch.kernels.registry import kernel


@kernel("attention_and_logs", above="unfused", reuses_out=True)
def tiled(q, k, v, out=None, causal=False, scale=None):
    outputs = destinations("attention_and_logs", (q, k, v), out, causal=causal, scale=scale)
    result, logs = outputs
    ready = logs.flags.c_contiguous and not any(np.may_share_memory(logs, a) for a in (q, k, v))
    own = logs if ready else np.empty(logs.shape, logs.dtype)
    attend(q, k, v, result, causal=causal, scale=scale, logsumexp=own)
    if own is not logs:
        logs[...] = own
    return outputs
