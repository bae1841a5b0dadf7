"""The same formula, fused: three reads and two writes, in place where `out` is the state itself."""

from tinytorch.fuse import fuse
from tinytorch.kernels.expressions import fused_elements
from tinytorch.kernels.registry import kernel
from tinytorch.ops.momentum import formula, numbers


@fuse(rigid=True)
def step(w, g, v, lr, momentum, weight_decay):
    return formula(w, g, v, lr, momentum, weight_decay)


@kernel("momentum", above="unfused", reuses_out=True)
def fused(w, g, v, out=None, **params):
    return fused_elements("momentum", step, (w, g, v), out, numbers(**params), **params)
