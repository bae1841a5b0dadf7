"""Three nested loops in plain Python: the definition, and nothing else.

Each multiply-add costs the interpreter tens of nanoseconds of bytecode, type checks and reference
counts, so memory hardly matters yet. The inner loop walks a column of B, one row apart a step:
compiled, that stride is what hurts next. Sums are kept in Python floats (float64).
"""

from tinytorch.kernels.batches import each_product
from tinytorch.kernels.registry import kernel


def product(a, b, out):
    rows, columns = a.tolist(), b.tolist()
    inner = len(columns)
    for i, row in enumerate(rows):
        for j in range(out.shape[1]):
            total = 0
            for k in range(inner):
                total += row[k] * columns[k][j]
            out[i, j] = total


@kernel("matmul", dtypes=None, interpreted=True)
def naive(a, b, out=None):
    return each_product("matmul", product, a, b, out)
