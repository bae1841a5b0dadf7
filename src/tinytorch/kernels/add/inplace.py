"""NumPy writing into `out`: the same loop without fresh memory, so without its page faults."""

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel


@kernel("add", above="vectorised", dtypes=None, reuses_out=True)
def inplace(x, y, out=None):
    if out is None:  # NumPy checks and allocates by itself, in a tenth of the time
        return np.add(x, y)
    return np.add(x, y, out=destination("add", (x, y), out))
