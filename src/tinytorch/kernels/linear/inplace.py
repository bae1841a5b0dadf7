"""The library's product into the output, then bias and activation over it, where it lies.

Nothing but the output is allocated, and gelu is our one compiled pass instead of nine: three passes
over the output are left after the product, too large for a cache when there are many tokens.
"""

import numpy as np

from tinytorch.kernels.gelu import parallel as gelu
from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.kernels.relu.inplace import clamp
from tinytorch.ops.linear import GELU_FORMS

_PLAIN = ("none", "relu")


@kernel("linear", above="unfused", reuses_out=True)
def inplace(x, w, b, out=None, activation="none"):
    if out is None and x.ndim and w.ndim == 2 and b.shape == w.shape[1:] and activation in _PLAIN:
        result = np.matmul(x, w)  # which checks and allocates by itself, in less time
        result += b
        return result if activation == "none" else clamp(result, result)
    result = destination("linear", (x, w, b), out, activation=activation)
    apart = out is not None and any(np.may_share_memory(result, array) for array in (x, w, b))
    target = np.empty(result.shape, result.dtype) if apart else result
    np.matmul(x, w, out=target)
    target += b
    if activation == "relu":
        clamp(target, target)
    elif activation in GELU_FORMS:
        dense = np.ascontiguousarray(target).reshape(target.shape)
        target = gelu.parallel(dense, out=target, approximate=GELU_FORMS[activation])
    if target is not result:
        result[...] = target
    return result
