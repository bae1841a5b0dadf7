"""One NumPy expression: the loop moves into C, and each call allocates its result."""

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel


@kernel("add", above="naive", dtypes=None)
def vectorised(x, y, out=None):
    result = np.asarray(x + y)
    if out is None:
        return result
    destination("add", (x, y), out)[...] = result
    return out
