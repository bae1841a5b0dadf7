"""NumPy, one array operation a step: sixteen passes over arrays as large as the weights."""

from tinytorch.kernels.outputs import destinations
from tinytorch.kernels.registry import kernel
from tinytorch.ops.adam import formula, numbers


@kernel("adam", above="naive")
def unfused(w, g, m, v, out=None, **params):
    outputs = destinations("adam", (w, g, m, v), out, **params)
    for one, value in zip(outputs, formula(w, g, m, v, numbers(**params)), strict=True):
        one[...] = value
    return outputs
