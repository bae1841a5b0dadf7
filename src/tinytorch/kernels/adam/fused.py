"""The same formula, fused: four reads and three writes, in place where `out` is the state itself.

It is NumPy's own function from the op's file, traced: the two rungs can't drift apart.
"""

from tinytorch.fuse import fuse
from tinytorch.kernels.expressions import fused_elements
from tinytorch.kernels.registry import kernel
from tinytorch.ops.adam import Numbers, formula, numbers


@fuse(rigid=True)
def adam(w, g, m, v, beta1, other1, beta2, other2, rate, root, eps, added, kept):
    n = Numbers(beta1, other1, beta2, other2, rate, root, eps, added, kept)
    return formula(w, g, m, v, n)


@kernel("adam", above="unfused", reuses_out=True)
def fused(w, g, m, v, out=None, **params):
    n = numbers(**params)
    each = (n.beta1, n.other1, n.beta2, n.other2, n.rate, n.root, n.eps, n.added, n.kept)
    return fused_elements("adam", adam, (w, g, m, v), out, each, **params)
