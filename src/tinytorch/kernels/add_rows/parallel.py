"""One compiled walk over the rows in their order, each added where it belongs; no sort, no copy.

Threads share the columns: each adds its part of every row, so that no two write to one place, all
have as much to do whatever the numbers are, and each element's sum is in the order of the rows
however many threads there are. Memory sees the rows once, and the table's rows that they are for.
"""

import numpy as np

from tinytorch.kernels.add_rows.vectorised import into
from tinytorch.kernels.registry import kernel
from tinytorch.native import threads
from tinytorch.native.codecache import jit, prange

# Elements from which a second thread pays, and the fewest columns of a row that one is given.
_WORTH_SHARING, _COLUMNS = 1 << 16, 32


@jit
def _add(first, last, rows, numbers, table):
    for i in range(numbers.size):
        row, target = rows[i], table[numbers[i]]
        for j in range(first, last):
            target[j] += row[j]


@jit(parallel=True)
def _add_all(shares, rows, numbers, table):
    columns = rows.shape[1]
    if shares == 1:
        _add(0, columns, rows, numbers, table)
    else:
        for share in prange(shares):
            _add(share * columns // shares, (share + 1) * columns // shares, rows, numbers, table)


@kernel("add_rows", above="vectorised", reuses_out=True)
def parallel(table, rows, numbers, out=None):
    result, rows = into(table, rows, numbers, out)
    target = np.ascontiguousarray(result)
    shares = 1
    if rows.size >= _WORTH_SHARING:
        shares = max(1, min(threads.get_num_threads(), rows.shape[1] // _COLUMNS))
    dense = np.ascontiguousarray(rows)
    _add_all(shares, dense, np.ascontiguousarray(numbers, np.int64), target)
    if target is not result:
        result[...] = target
    return result
