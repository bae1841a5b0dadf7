"""Query by query in plain Python: the row, and the logarithm of its sum (in float64)."""

from tinytorch.kernels.attention.naive import each_query, sees_until
from tinytorch.kernels.outputs import destinations
from tinytorch.kernels.registry import kernel


@kernel("attention_and_logs", interpreted=True)
def naive(q, k, v, out=None, causal=False, scale=None):
    outputs = destinations("attention_and_logs", (q, k, v), out, causal=causal, scale=scale)
    each_query(outputs[0], (q, k, v), sees_until(q, k, causal), scale, outputs[1])
    return outputs
