"""NumPy, the whole matrix of scores; its softmax's sums are there, so the logs are nearly free."""

from tinytorch.kernels.attention.unfused import weighted
from tinytorch.kernels.outputs import destinations
from tinytorch.kernels.registry import kernel
from tinytorch.ops.attention import kept


@kernel("attention_and_logs", above="naive")
def unfused(q, k, v, out=None, causal=False, scale=None):
    outputs = destinations("attention_and_logs", (q, k, v), out, causal=causal, scale=scale)
    keep = kept(q.shape[-2], k.shape[-2], True) if causal else None
    outputs[0][...], outputs[1][...] = weighted(q, k, v, keep, scale)
    return outputs
