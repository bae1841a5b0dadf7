"""Query by query in plain Python: the row, and the logarithm of its sum (in float64)."""

from tinytorch.kernels.attention.naive import each_query
from tinytorch.kernels.masked_attention.naive import sees_kept
from tinytorch.kernels.outputs import destinations
from tinytorch.kernels.registry import kernel


@kernel("masked_attention_and_logs", interpreted=True)
def naive(q, k, v, mask, out=None, causal=False, scale=None):
    arrays = (q, k, v, mask)
    outputs = destinations("masked_attention_and_logs", arrays, out, causal=causal, scale=scale)
    sees = sees_kept(q, k, mask, causal, outputs[0].shape[:-2])
    each_query(outputs[0], (q, k, v), sees, scale, outputs[1])
    return outputs
