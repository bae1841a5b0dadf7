"""NumPy writing into `out`: the same loop without fresh memory, so without its page faults."""

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel


@kernel("multiply", above="vectorised", dtypes=None, reuses_out=True)
def inplace(x, y, out=None):
    if out is None:  # NumPy checks and allocates by itself, in a tenth of the time
        return np.multiply(x, y)
    return np.multiply(x, y, out=destination("multiply", (x, y), out))
