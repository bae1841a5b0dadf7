"""The same formula, fused: two reads and one write, in place where `out` is the weights."""

from tinytorch.fuse import fuse
from tinytorch.kernels.expressions import fused_elements
from tinytorch.kernels.registry import kernel
from tinytorch.ops.sgd import formula


@fuse(rigid=True)
def sgd(w, g, lr, weight_decay):
    return formula(w, g, lr, weight_decay)


@kernel("sgd", above="unfused", reuses_out=True)
def fused(w, g, out=None, lr=0.01, weight_decay=0.0):
    params = {"lr": lr, "weight_decay": weight_decay}
    return fused_elements("sgd", sgd, (w, g), out, (lr, weight_decay), **params)
