"""The compiled pass in blocks, shared among the threads; each block's sum is kept, then added up.

Blocks are cut by size and not by thread, so the result does not depend on how many threads run.
"""

import numpy as np

from tinytorch.kernels.dot.compiled import loop
from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import CONTIGUOUS, kernel
from tinytorch.native import threads
from tinytorch.native.codecache import jit, prange

BLOCK = 1 << 15


@jit(parallel=True)
def _block_sums(x, y, sums, zero, shares):
    blocks = sums.size
    for share in prange(shares):
        for block in range(share * blocks // shares, (share + 1) * blocks // shares):
            first = block * BLOCK
            last = min(first + BLOCK, x.size)
            sums[block] = loop(x[first:last], y[first:last], zero)


@kernel("dot", above="compiled", support=CONTIGUOUS, worthwhile_from=1 << 19)
def parallel(x, y, out=None):
    out = destination("dot", (x, y), out)
    sums = np.empty(-(-x.size // BLOCK), x.dtype)
    zero = x.dtype.type(0)
    _block_sums(x.reshape(-1), y.reshape(-1), sums, zero, threads.get_num_threads())
    out[...] = sums.sum()
    return out
