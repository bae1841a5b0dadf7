"""NumPy: the weights made again as one matrix, 0 where the mask hides; five library products."""

from tinytorch.kernels.attention_gradient.unfused import from_weights
from tinytorch.kernels.outputs import destinations
from tinytorch.kernels.registry import kernel
from tinytorch.ops.masked_attention import keep_of


@kernel("masked_attention_gradient", above="naive")
def unfused(q, k, v, attended, logs, dout, mask, out=None, causal=False, scale=None):
    arrays = (q, k, v, attended, logs, dout)
    outputs = destinations(
        "masked_attention_gradient", (*arrays, mask), out, causal=causal, scale=scale
    )
    return from_weights(outputs, arrays, keep_of(q, k, mask, causal), scale)
