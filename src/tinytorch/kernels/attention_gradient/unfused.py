"""NumPy: the weights made again as one matrix, its gradient as another, five library products.

Matrices of Tq x Tk are written and read at every step; what is hidden is computed like the rest.
"""

import numpy as np

from tinytorch.kernels.outputs import destinations
from tinytorch.kernels.registry import kernel
from tinytorch.ops.attention import kept, scale_for


@kernel("attention_gradient", above="naive")
def unfused(q, k, v, attended, logs, dout, out=None, causal=False, scale=None):
    arrays = (q, k, v, attended, logs, dout)
    outputs = destinations("attention_gradient", arrays, out, causal=causal, scale=scale)
    factor = q.dtype.type(scale_for(q.shape[-1], scale))
    finite = np.where(np.isfinite(logs), logs, q.dtype.type(np.inf))[..., None]
    weights = np.exp(factor * np.matmul(q, np.swapaxes(k, -1, -2)) - finite)
    if causal:
        weights = np.where(kept(q.shape[-2], k.shape[-2], True), weights, q.dtype.type(0))
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
