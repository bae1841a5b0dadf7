"""Pair by pair in plain Python: a query and a key it sees add to all three (in float64)."""

from tinytorch.kernels.attention_gradient.naive import each_sequence
from tinytorch.kernels.masked_attention.naive import sees_kept
from tinytorch.kernels.outputs import destinations
from tinytorch.kernels.registry import kernel


@kernel("masked_attention_gradient", interpreted=True)
def naive(q, k, v, attended, logs, dout, mask, out=None, causal=False, scale=None):
    arrays = (q, k, v, attended, logs, dout)
    outputs = destinations(
        "masked_attention_gradient", (*arrays, mask), out, causal=causal, scale=scale
    )
    return each_sequence(outputs, arrays, sees_kept(q, k, mask, causal, q.shape[:-2]), scale)
