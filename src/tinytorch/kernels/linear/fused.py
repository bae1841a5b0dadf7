"""Our own product, with bias and activation done to each tile of the output as it is finished.

The tile is still in the first cache then, so the epilogue costs its arithmetic and no traffic: the
output is written once and never read. The price: the product must be ours, at the library's speed.
"""

import math

from tinytorch.kernels.gemm import into
from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.native.gemm.product import Extras


# NOTE: below that, the library and a pass over what is still in the second cache are faster.
@kernel("linear", above="inplace", reuses_out=True, worthwhile_from=1 << 17)
def fused(x, w, b, out=None, activation="none"):
    result = destination("linear", (x, w, b), out, activation=activation)
    extras = Extras(bias=b, activation=activation)
    rows = math.prod(x.shape[:-1])
    if x.ndim != 2 and x.flags.c_contiguous and result.flags.c_contiguous:
        # One tall product instead of a batch of low ones.
        into(result.reshape(rows, w.shape[1]), x.reshape(rows, w.shape[0]), w, extras)
    elif x.ndim == 1:
        into(result[None], x[None], w, extras)
    else:
        into(result, x, w, extras)
    return result
