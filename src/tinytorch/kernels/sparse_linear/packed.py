"""A register tile: some outputs by some vectors of tokens, whose sums leave registers once.

Tokens are packed by strips, so that all inputs of a strip stay in the second cache; a strip's sums
run over a whole row of blocks in registers, and are turned into rows of the output in the first
cache. A block's R outputs share each load of the tokens: for 4 x 16 the multiply-adds bind, as in a
dense product. Single weights share nothing: one load from the second cache each is what binds them,
at a third or so of the dense product's speed. What it costs: each strip is packed anew.
"""

import numpy as np

from tinytorch.kernels import sparse
from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import Support, kernel
from tinytorch.native.sparse.tile import ROWS
from tinytorch.ops.sparse_linear import check_blocks

_TILED = Support(
    f"blocks of {', '.join(map(str, ROWS))} outputs",
    lambda arrays: arrays[1].shape[2] in ROWS,
)


@kernel("sparse_linear", above="compiled", dtypes=("float32",), support=_TILED, reuses_out=True)
def packed(x, values, columns, starts, b, out=None):
    result = destination("sparse_linear", (x, values, columns, starts, b), out)
    check_blocks(values, columns, starts, x.shape[-1])
    overlaps = any(np.may_share_memory(result, array) for array in (values, columns, starts, b))
    target = np.empty(result.shape, result.dtype) if overlaps else result
    weight = (
        np.ascontiguousarray(values),
        np.ascontiguousarray(columns, np.int32),
        np.ascontiguousarray(starts, np.int64),
    )
    sparse.into(target, x, weight, b)
    if target is not result:
        result[...] = target
    return result
