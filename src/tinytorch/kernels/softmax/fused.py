"""Each row is finished while it is in cache: maximum, exponentials with their sum, division.

Memory sees one read and one write. The maximum and the sum use several partial results in vector
registers, so the sum may change its order.
"""

from tinytorch.kernels.outputs import row_pass
from tinytorch.kernels.registry import CONTIGUOUS, kernel
from tinytorch.native import vmath
from tinytorch.native.codecache import REASSOCIATE, jit


@jit(flags=REASSOCIATE)
def rows_loop(x, out, first, last):
    """Write softmax of rows first … last of x (R, C) into `out`."""
    width = x.shape[1]
    zero, one = out.dtype.type(0), out.dtype.type(1)
    for row in range(first, last):
        largest = x[row, 0]
        for j in range(width):
            largest = largest if largest > x[row, j] else x[row, j]
        total = zero
        for j in range(width):
            power = vmath.exp(x[row, j] - largest)
            out[row, j] = power
            total += power
        scale = one / total
        for j in range(width):
            out[row, j] *= scale


@kernel("softmax", above="inplace", support=CONTIGUOUS, reuses_out=True)
def fused(x, out=None):
    return row_pass("softmax", lambda a, b: rows_loop(a, b, 0, a.shape[0]), x, out)
