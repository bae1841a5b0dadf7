"""NumPy: for each row of blocks, its inputs gathered from x, and the library's product with them.

No loop over weights is left in Python; but for each R outputs the inputs are copied out of rows of
x, a cache line read for every few floats, and the product of that copy is a few columns wide. With
single weights it is mostly the copying.
"""

import itertools

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.sparse_linear import check_blocks


@kernel("sparse_linear", above="naive", dtypes=("float32",))
def unfused(x, values, columns, starts, b, out=None):
    target = destination("sparse_linear", (x, values, columns, starts, b), out)
    check_blocks(values, columns, starts, x.shape[-1])
    _, W, R = values.shape
    N = len(b)
    result = np.empty(target.shape, target.dtype)
    for i, (first, last) in enumerate(itertools.pairwise(starts)):
        inputs = (columns[first:last, None] + np.arange(W)).reshape(-1)
        sums = np.take(x, inputs, axis=-1) @ values[first:last].reshape(-1, R)
        here = slice(i * R, min((i + 1) * R, N))
        result[..., here] = sums[..., : here.stop - here.start] + b[here]
    target[...] = result
    return target
