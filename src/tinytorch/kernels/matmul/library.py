"""np.matmul: the BLAS library that NumPy was built with.

Packs both operands into the order in which its micro-kernel reads them, keeps a block of C in
registers, and uses every core: the work of decades, and one call. What it costs is a fixed
overhead on small products, and a copy where strides are not what BLAS can express.
"""

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel


@kernel("matmul", above="packed", dtypes=None, reuses_out=True)
def library(a, b, out=None):
    if out is None:
        return np.matmul(a, b)
    # NOTE: NumPy would write into an `out` of another type or with more axes without a word.
    return np.matmul(a, b, out=destination("matmul", (a, b), out))
