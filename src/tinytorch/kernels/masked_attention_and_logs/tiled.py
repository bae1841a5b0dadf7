"""Tiles as in masked attention; their largest scores and sums make the logs at the end.

Where the rung below would keep Tq x Tk weights for the gradient, this keeps Tq logarithms: of what
training under a mask remembers, only the mask itself grows with the square of the length, and that
is there once for all heads.
"""

from tinytorch.kernels.attending import attend_with_logs
from tinytorch.kernels.outputs import destinations
from tinytorch.kernels.registry import kernel


@kernel("masked_attention_and_logs", above="unfused", reuses_out=True)
def tiled(q, k, v, mask, out=None, causal=False, scale=None):
    arrays = (q, k, v, mask)
    outputs = destinations("masked_attention_and_logs", arrays, out, causal=causal, scale=scale)
    return attend_with_logs(q, k, v, outputs, causal=causal, mask=mask, scale=scale)
