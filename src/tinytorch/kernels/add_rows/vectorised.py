"""Rows sorted by number, each number's summed by np.add.reduceat, and whole rows added at once.

The rung below walks element by element; here, additions run along rows. The price: the sort, and a
copy of the rows in their new order. It gains while all that is in a cache; beyond, it loses.
"""

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.add_rows import checked_numbers


def into(table, rows, numbers, out):
    """Return where the op writes, the table already there, and rows that writing leaves alone."""
    result = destination("add_rows", (table, rows, numbers), out)
    checked_numbers(numbers, table.shape[0])
    if out is not None and np.may_share_memory(out, rows):
        rows = rows.copy()
    if result is not table:
        result[...] = table
    return result, rows


@kernel("add_rows", above="unfused", dtypes=None)
def vectorised(table, rows, numbers, out=None):
    result, rows = into(table, rows, numbers, out)
    order = numbers.argsort(kind="stable")
    placed = numbers[order]
    first = np.ones(len(placed), bool)
    np.not_equal(placed[1:], placed[:-1], out=first[1:])
    if first.all():
        result[numbers] += rows
    else:
        starts = first.nonzero()[0]
        result[placed[starts]] += np.add.reduceat(rows[order], starts, axis=0)
    return result
