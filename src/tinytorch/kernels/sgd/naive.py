"""One element at a time, in plain Python: the definition."""

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.sgd import formula


@kernel("sgd", interpreted=True)
def naive(w, g, out=None, lr=0.01, weight_decay=0.0):
    out = destination("sgd", (w, g), out, lr=lr, weight_decay=weight_decay)
    pairs = zip(w.ravel().tolist(), g.ravel().tolist(), strict=True)
    out.flat = [formula(a, b, lr, weight_decay) for a, b in pairs]
    return out
