"""Tiles as in attention: what tiles carry, largest scores and sums, makes the logs at the end.

Where the rung below would keep Tq x Tk weights for the gradient, this keeps Tq logarithms, and the
gradient makes the weights again.
"""

from tinytorch.kernels.attending import attend_with_logs
from tinytorch.kernels.outputs import destinations
from tinytorch.kernels.registry import kernel


@kernel("attention_and_logs", above="unfused", reuses_out=True)
def tiled(q, k, v, out=None, causal=False, scale=None):
    outputs = destinations("attention_and_logs", (q, k, v), out, causal=causal, scale=scale)
    return attend_with_logs(q, k, v, outputs, causal=causal, scale=scale)
