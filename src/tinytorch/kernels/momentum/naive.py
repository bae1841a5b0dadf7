"""One element at a time, in plain Python: the definition."""

import numpy as np

from tinytorch.kernels.outputs import destinations
from tinytorch.kernels.registry import kernel
from tinytorch.ops.momentum import formula, numbers


@kernel("momentum", interpreted=True)
def naive(w, g, v, out=None, **params):
    outputs = destinations("momentum", (w, g, v), out, **params)
    weights, gradients, velocities = (a.ravel().tolist() for a in (w, g, v))
    each, n = zip(weights, gradients, velocities, strict=True), numbers(**params)
    found = np.array([formula(*one, *n) for one in each]).reshape(-1, 2)
    for one, values in zip(outputs, found.T, strict=True):
        one[...] = values.reshape(one.shape)
    return outputs
