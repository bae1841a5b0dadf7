"""NumPy, one array operation a step: the difference, or both logarithms, are temporaries."""

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.loss_sum import LOWEST_LOG


def _cross_entropy(x, t):
    with np.errstate(divide="ignore"):
        log_x, log_rest = np.maximum(np.log(x), LOWEST_LOG), np.maximum(np.log1p(-x), LOWEST_LOG)
    return -(t * log_x + (1 - t) * log_rest).sum()


@kernel("loss_sum", above="naive", dtypes=None)
def unfused(x, t, out=None, loss="mse"):
    out = destination("loss_sum", (x, t), out, loss=loss)
    if loss == "mse":
        away = x - t
        out[...] = np.vdot(away, away)
    else:
        out[...] = _cross_entropy(x, t)
    return out
