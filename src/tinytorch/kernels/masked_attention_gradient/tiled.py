"""A tile of weights at a time, as in attention_gradient, and a tile of the mask.

Hidden scores become -inf in a near cache, so that their weights, and with them all that reaches
hidden keys and values, are 0: one pass over a tile, where the rung below wrote and read matrices of
Tq x Tk some ten times. Nothing is skipped for the mask.
"""

from tinytorch.kernels.attending import attend_gradient
from tinytorch.kernels.registry import kernel


@kernel("masked_attention_gradient", above="unfused", reuses_out=True)
def tiled(q, k, v, attended, logs, dout, mask, out=None, causal=False, scale=None):
    arrays, how = (q, k, v, attended, logs, dout), {"causal": causal, "scale": scale}
    return attend_gradient(*arrays, out, mask=mask, **how)
