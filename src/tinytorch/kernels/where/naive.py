"""One element at a time, in plain Python: the definition."""

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel


@kernel("where", dtypes=None, interpreted=True)
def naive(a, b, condition, out=None):
    out = destination("where", (a, b, condition), out)
    wide = (array.ravel().tolist() for array in np.broadcast_arrays(a, b, condition))
    out.flat = [x if held else y for x, y, held in zip(*wide, strict=True)]
    return out
