"""One element at a time, in plain Python: the definition."""

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel


@kernel("relu", dtypes=None, interpreted=True)
def naive(x, out=None):
    out = destination("relu", (x,), out)
    out.flat = [0 if v < 0 else v for v in x.ravel().tolist()]
    return out
