"""One element at a time, in plain Python: the definition."""

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel

_SLOPES = {
    "sigmoid": lambda y: y * (1.0 - y),
    "tanh": lambda y: 1.0 - y * y,
    "relu": lambda y: float(y > 0),
}


@kernel("activation_gradient", dtypes=None, interpreted=True)
def naive(y, dy, out=None, activation="sigmoid"):
    out = destination("activation_gradient", (y, dy), out, activation=activation)
    pairs = zip(y.ravel().tolist(), dy.ravel().tolist(), strict=True)
    slope = _SLOPES[activation]
    out.flat = [d * slope(v) for v, d in pairs]
    return out
