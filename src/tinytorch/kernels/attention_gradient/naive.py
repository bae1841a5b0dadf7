"""Pair by pair in plain Python: a query and a key it sees add to all three (in float64)."""

import functools
import math

import numpy as np

from tinytorch.kernels.attention.naive import dot, sees_until
from tinytorch.kernels.outputs import destinations
from tinytorch.kernels.registry import kernel
from tinytorch.ops.attention import scale_for


def _add(total, factor, row):
    for place, value in enumerate(row):
        total[place] += factor * value


def _sequence(arrays, sees, scale):
    """Return dq, dk and dv of one sequence, as lists of lists."""
    q, k, v, out, logs, dout = arrays
    dq, dk, dv = ([[0.0] * len(row) for row in rows] for rows in (q, k, v))
    for i, query in enumerate(q):
        along = dot(out[i], dout[i])
        for j, key in enumerate(k):
            if not sees(i, j) or logs[i] == -math.inf:
                continue
            weight = math.exp(scale * dot(query, key) - logs[i])
            slope = scale * weight * (dot(dout[i], v[j]) - along)
            _add(dq[i], slope, key)
            _add(dk[j], slope, query)
            _add(dv[j], weight, dout[i])
    return dq, dk, dv


def each_sequence(outputs, arrays, keep, scale):
    """Write the gradients of every batch; `keep(index, i, j)` says what is seen."""
    scale = scale_for(arrays[0].shape[-1], scale)
    for index in np.ndindex(*arrays[0].shape[:-2]):
        own = [array[index].tolist() for array in arrays]
        found = _sequence(own, functools.partial(keep, index), scale)
        for output, rows in zip(outputs, found, strict=True):
            output[index] = np.array(rows, np.float64).reshape(output.shape[-2:])
    return outputs


@kernel("attention_gradient", interpreted=True)
def naive(q, k, v, attended, logs, dout, out=None, causal=False, scale=None):
    arrays = (q, k, v, attended, logs, dout)
    outputs = destinations("attention_gradient", arrays, out, causal=causal, scale=scale)
    return each_sequence(outputs, arrays, sees_until(q, k, causal), scale)
