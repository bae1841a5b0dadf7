"""A compiled loop over the weights: each is multiplied into a block of tokens, vector by vector.

x is turned once, so that a weight meets neighbours: the tokens of its input. Nothing is gathered or
copied for each output; but the sums go to the first cache and back for every four weights, and the
whole output is turned at the end, a pass over memory of its own.
"""

import math

import numpy as np

from tinytorch.kernels.outputs import aligned_empty, destination
from tinytorch.kernels.registry import kernel
from tinytorch.native.codecache import jit, prange
from tinytorch.ops.sparse_linear import check_blocks

# Tokens that pass over the weights at a time.
_BLOCK = 256


@jit
def _one_output(values, inputs, bias, x_turned, out):
    """Write a row of outputs: its weights, those of inputs `inputs`, four at a time."""
    count = len(values)
    whole = count - count % 4
    out[:] = bias
    for p in range(0, whole, 4):
        x0, x1 = x_turned[inputs[p]], x_turned[inputs[p + 1]]
        x2, x3 = x_turned[inputs[p + 2]], x_turned[inputs[p + 3]]
        w0, w1, w2, w3 = values[p], values[p + 1], values[p + 2], values[p + 3]
        for j in range(len(out)):
            out[j] += (w0 * x0[j] + w1 * x1[j]) + (w2 * x2[j] + w3 * x3[j])
    for p in range(whole, count):
        x0, w0 = x_turned[inputs[p]], values[p]
        for j in range(len(out)):
            out[j] += w0 * x0[j]


@jit(parallel=True)
def _multiply(values, columns, starts, bias, x_turned, out_turned):
    """Write (x @ W + bias), turned: x_turned is (K, M), out_turned (N, M)."""
    N, M = out_turned.shape
    W, R = values.shape[1], values.shape[2]
    for n in prange(N):
        first, last = starts[n // R], starts[n // R + 1]
        own = np.empty((last - first) * W, values.dtype)
        inputs = np.empty((last - first) * W, np.int64)
        for p in range(first, last):
            for w in range(W):
                own[(p - first) * W + w] = values[p, w, n % R]
                inputs[(p - first) * W + w] = columns[p] + w
        for m0 in range(0, M, _BLOCK):
            m1 = min(m0 + _BLOCK, M)
            _one_output(own, inputs, bias[n], x_turned[:, m0:m1], out_turned[n, m0:m1])


@kernel("sparse_linear", above="unfused", dtypes=("float32",))
def compiled(x, values, columns, starts, b, out=None):
    result = destination("sparse_linear", (x, values, columns, starts, b), out)
    check_blocks(values, columns, starts, x.shape[-1])
    if not result.size:
        return result
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    turned = aligned_empty((len(b), len(rows)), result.dtype)
    given = (np.ascontiguousarray(array) for array in (values, b, rows.T))
    weights, bias, x_turned = given
    firsts, ends = (np.ascontiguousarray(array, np.int64) for array in (columns, starts))
    _multiply(weights, firsts, ends, bias, x_turned, turned)
    result[...] = turned.T.reshape(result.shape)
    return result
