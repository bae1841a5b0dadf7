"""One element at a time, in plain Python with `math`: the definition."""

import math

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel


def _exp(x):
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def _log(x):
    return math.log(x) if x > 0 else -math.inf if x == 0 else math.nan


_FUNCTIONS = {
    "exp": _exp,
    "log": _log,
    "sin": lambda x: math.nan if math.isinf(x) else math.sin(x),
    "cos": lambda x: math.nan if math.isinf(x) else math.cos(x),
}


@kernel("elementary", dtypes=None, interpreted=True)
def naive(x, out=None, kind="exp"):
    out = destination("elementary", (x,), out, kind=kind)
    out.flat = list(map(_FUNCTIONS[kind], x.ravel().tolist()))
    return out
