"""NumPy: the weights made again as one matrix, its gradient as another, five library products.

Matrices of Tq x Tk are written and read at every step; what is hidden is computed like the rest.
"""

import numpy as np

from tinytorch.kernels.outputs import destinations
from tinytorch.kernels.registry import kernel
from tinytorch.ops.attention import keep_of, scale_for


def from_weights(outputs, arrays, keep, scale):
    """Write the gradients for the six inputs; `keep` says what is seen, None that all is."""
    q, k, v, attended, logs, dout = arrays
    factor = q.dtype.type(scale_for(q.shape[-1], scale))
    finite = np.where(np.isfinite(logs), logs, q.dtype.type(np.inf))[..., None]
    scores = factor * np.matmul(q, np.swapaxes(k, -1, -2))
    if keep is not None:
        scores = np.where(keep, scores, q.dtype.type(-np.inf))
    weights = np.exp(scores - finite)
    along = (attended * dout).sum(axis=-1, keepdims=True)
    slopes = factor * weights * (np.matmul(dout, np.swapaxes(v, -1, -2)) - along)
    results = (
        np.matmul(slopes, k),
        np.matmul(np.swapaxes(slopes, -1, -2), q),
        np.matmul(np.swapaxes(weights, -1, -2), dout),
    )
    for output, result in zip(outputs, results, strict=True):
        output[...] = result
    return outputs


@kernel("attention_gradient", above="naive")
def unfused(q, k, v, attended, logs, dout, out=None, causal=False, scale=None):
    arrays = (q, k, v, attended, logs, dout)
    outputs = destinations("attention_gradient", arrays, out, causal=causal, scale=scale)
    return from_weights(outputs, arrays, keep_of(q, k, True) if causal else None, scale)
