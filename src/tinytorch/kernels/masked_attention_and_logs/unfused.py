"""NumPy, the whole matrix of scores, those the mask hides set to -inf; its sums make the logs."""

from tinytorch.kernels.attention.unfused import weighted
from tinytorch.kernels.outputs import destinations
from tinytorch.kernels.registry import kernel
from tinytorch.ops.masked_attention import keep_of


@kernel("masked_attention_and_logs", above="naive")
def unfused(q, k, v, mask, out=None, causal=False, scale=None):
    arrays = (q, k, v, mask)
    outputs = destinations("masked_attention_and_logs", arrays, out, causal=causal, scale=scale)
    outputs[0][...], outputs[1][...] = weighted(q, k, v, keep_of(q, k, mask, causal), scale)
    return outputs
