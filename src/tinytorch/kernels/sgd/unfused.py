"""NumPy, one array operation a step: four passes over arrays as large as the weights."""

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.sgd import formula


@kernel("sgd", above="naive")
def unfused(w, g, out=None, lr=0.01, weight_decay=0.0):
    out = destination("sgd", (w, g), out, lr=lr, weight_decay=weight_decay)
    out[...] = formula(w, g, lr, weight_decay)
    return out
