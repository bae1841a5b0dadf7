"""One element at a time, in plain Python: the definition."""

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.add_rows import checked_numbers


@kernel("add_rows", dtypes=None, interpreted=True)
def naive(table, rows, numbers, out=None):
    result = destination("add_rows", (table, rows, numbers), out)
    checked_numbers(numbers, table.shape[0])
    sums = table.tolist()
    for number, row in zip(numbers.tolist(), rows.tolist(), strict=True):
        sums[number] = [a + b for a, b in zip(sums[number], row, strict=True)]
    result[...] = np.array(sums).reshape(result.shape)
    return result
