"""One NumPy call that writes into `out`: no mask, no temporary, no fresh memory."""

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel


@kernel("relu", above="unfused", dtypes=None, reuses_out=True)
def inplace(x, out=None):
    out = np.empty_like(x) if out is None else destination("relu", (x,), out)
    return np.maximum(x, x.dtype.type(0), out=out)
