"""A tile of weights at a time, made again from the scores and the logs, never stored.

Two products give a tile of weights and one of their gradients, in a near cache; three more add them
to the gradients of queries, keys and values. Memory sees the inputs and the outputs, where the
rung below wrote and read the Tq x Tk matrices some ten times; tiles that a causal mask hides are
skipped. The price: the scores are computed a second time, and one thread does a whole sequence and
head.
"""

from tinytorch.kernels.attending import attend_gradient
from tinytorch.kernels.registry import kernel


@kernel("attention_gradient", above="unfused", reuses_out=True)
def tiled(q, k, v, attended, logs, dout, out=None, causal=False, scale=None):
    return attend_gradient(q, k, v, attended, logs, dout, out, causal=causal, scale=scale)
