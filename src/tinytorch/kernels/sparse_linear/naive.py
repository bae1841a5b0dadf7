"""Loops in plain Python: the weights that are there, one after the other, each times one input.

The definition. The zeros are gone, and with them their multiply-adds; the interpreter's cost at
each of the others stays.
"""

import math

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.sparse_linear import check_blocks


@kernel("sparse_linear", dtypes=("float32",), interpreted=True)
def naive(x, values, columns, starts, b, out=None):
    result = destination("sparse_linear", (x, values, columns, starts, b), out)
    check_blocks(values, columns, starts, x.shape[-1])
    R = values.shape[2]
    weights, firsts, ends = values.tolist(), columns.tolist(), starts.tolist()
    made = []
    for row in x.reshape(math.prod(x.shape[:-1]), x.shape[-1]).tolist():
        for n, bias in enumerate(b.tolist()):
            total = 0.0
            for p in range(ends[n // R], ends[n // R + 1]):
                for k, block_row in enumerate(weights[p], firsts[p]):
                    total += row[k] * block_row[n % R]
            made.append(total + bias)
    result[...] = np.array(made, np.float64).reshape(result.shape)
    return result
