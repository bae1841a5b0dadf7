"""Tiles as in attention; the mask is read a tile at a time, when the tile's scores are there.

Hidden scores become -inf in the first cache: one pass over a tile, and the mask's bytes from memory
where the rung below also wrote and read whole matrices. Nothing is skipped for the mask.
"""

from tinytorch.kernels.attending import attend
from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel


@kernel("masked_attention", above="unfused", reuses_out=True)
def tiled(q, k, v, mask, out=None, causal=False, scale=None):
    result = destination("masked_attention", (q, k, v, mask), out, causal=causal, scale=scale)
    return attend(q, k, v, result, causal=causal, mask=mask, scale=scale)
