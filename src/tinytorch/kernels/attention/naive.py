"""Query by query in plain Python: scores, softmax, weighted sum of values (in float64)."""

import math

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.attention import scale_for


def dot(x, y):
    """Return the sum of products of two lists of floats."""
    return sum(map(float.__mul__, x, y))


def _query(query, keys, columns, sees, scale):
    """Return one row of the output and its log; `sees` are the places of the keys it sees."""
    scores = [scale * dot(query, keys[j]) for j in sees]
    if not scores:
        return [0.0] * len(columns), -math.inf
    largest = max(scores)
    powers = [math.exp(score - largest) for score in scores]
    total = sum(powers)
    row = [dot(powers, [column[j] for j in sees]) / total for column in columns]
    return row, largest + math.log(total)


def each_query(result, arrays, keep, scale, logs=None):
    """Write attention, and logs, for every batch of (q, k, v); `keep(index, i, j)` says what is
    seen."""
    q, k, v = (np.broadcast_to(a, (*result.shape[:-2], *a.shape[-2:])) for a in arrays)
    scale = scale_for(q.shape[-1], scale)
    Tk = k.shape[-2]
    for index in np.ndindex(*result.shape[:-2]):
        keys, columns = k[index].tolist(), v[index].T.tolist()
        for i, query in enumerate(q[index].tolist()):
            sees = [j for j in range(Tk) if keep(index, i, j)]
            row, log = _query(query, keys, columns, sees, scale)
            result[(*index, i)] = np.array(row)
            if logs is not None:
                logs[(*index, i)] = log
    return result


def sees_until(q, k, causal):
    """Return the test of each_query for all keys, or for those up to i + Tk - Tq."""
    shift = k.shape[-2] - q.shape[-2] if causal else k.shape[-2]
    return lambda index, i, j: j <= i + shift


@kernel("attention", interpreted=True)
def naive(q, k, v, out=None, causal=False, scale=None):
    result = destination("attention", (q, k, v), out, causal=causal, scale=scale)
    return each_query(result, (q, k, v), sees_until(q, k, causal), scale)
