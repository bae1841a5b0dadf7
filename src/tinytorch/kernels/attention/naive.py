"""Query by query in plain Python: scores, softmax, weighted sum of values (in float64)."""

import math

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.attention import scale_for


def _dot(x, y):
    return sum(map(float.__mul__, x, y))


def _query(query, keys, columns, sees, scale):
    """Return one row of the output; `sees` are the places of the keys that the query sees."""
    scores = [scale * _dot(query, keys[j]) for j in sees]
    largest = max(scores, default=0.0)
    powers = [math.exp(score - largest) for score in scores]
    total = sum(powers)
    return [_dot(powers, [column[j] for j in sees]) / total if sees else 0.0 for column in columns]


def each_query(result, arrays, keep, scale):
    """Write attention for every batch of (q, k, v); `keep(index, i, j)` says what is seen."""
    q, k, v = (np.broadcast_to(a, (*result.shape[:-2], *a.shape[-2:])) for a in arrays)
    scale = scale_for(q.shape[-1], scale)
    Tk = k.shape[-2]
    for index in np.ndindex(*result.shape[:-2]):
        keys, columns = k[index].tolist(), v[index].T.tolist()
        rows = [
            _query(query, keys, columns, [j for j in range(Tk) if keep(index, i, j)], scale)
            for i, query in enumerate(q[index].tolist())
        ]
        result[index] = np.array(rows, np.float64).reshape(result.shape[-2:])
    return result


@kernel("attention", interpreted=True)
def naive(q, k, v, out=None, causal=False, scale=None):
    result = destination("attention", (q, k, v), out, causal=causal, scale=scale)
    shift = k.shape[-2] - q.shape[-2] if causal else k.shape[-2]
    return each_query(result, (q, k, v), lambda index, i, j: j <= i + shift, scale)
