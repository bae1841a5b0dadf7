"""One element at a time, in plain Python with `math`: the definition."""

import math

import numpy as np

from tinytorch.kernels.outputs import destinations
from tinytorch.kernels.registry import kernel
from tinytorch.ops.adam import numbers


def _element(w, g, m, v, n):
    g += n.added * w
    m = n.beta1 * m + n.other1 * g
    v = n.beta2 * v + n.other2 * g * g
    return n.kept * w - n.rate * m / (n.root * math.sqrt(v) + n.eps), m, v


@kernel("adam", interpreted=True)
def naive(w, g, m, v, out=None, **params):
    outputs = destinations("adam", (w, g, m, v), out, **params)
    n = numbers(**params)
    weights, gradients, means, squares = (a.ravel().tolist() for a in (w, g, m, v))
    each = zip(weights, gradients, means, squares, strict=True)
    found = np.array([_element(a, b, c, d, n) for a, b, c, d in each]).reshape(-1, 3)
    for one, values in zip(outputs, found.T, strict=True):
        one[...] = values.reshape(one.shape)
    return outputs
