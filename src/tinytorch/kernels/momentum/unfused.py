"""NumPy, one array operation a step: six passes over arrays as large as the weights."""

from tinytorch.kernels.outputs import destinations
from tinytorch.kernels.registry import kernel
from tinytorch.ops.momentum import formula, numbers


@kernel("momentum", above="naive")
def unfused(w, g, v, out=None, **params):
    outputs = destinations("momentum", (w, g, v), out, **params)
    for one, value in zip(outputs, formula(w, g, v, *numbers(**params)), strict=True):
        one[...] = value
    return outputs
