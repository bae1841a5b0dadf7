"""NumPy: codes in whole arrays, multiplied as float64, which holds every sum exactly.

No BLAS takes integers. In float64 its product is exact and many times faster than NumPy's own loops
over int32; but each code takes 8 bytes for the 1 it needs, and every step is a pass over memory.
"""

import numpy as np

from tinytorch.kernels.gelu import unfused as gelu
from tinytorch.kernels.outputs import destination
from tinytorch.kernels.quantized import weight_codes
from tinytorch.kernels.registry import kernel
from tinytorch.ops.linear import GELU_FORMS


def _row_codes(x):
    """Return the codes less their zeros, and the scales, of rows."""
    low = np.min(x, axis=-1, keepdims=True, initial=0)
    high = np.max(x, axis=-1, keepdims=True, initial=0)
    scales = high / np.float32(255) - low / np.float32(255)
    scales = np.where(scales > 0, scales, 1).astype(np.float32)
    zeros = np.rint(-low / scales)
    return np.clip(np.rint(x / scales), -zeros, 255 - zeros), scales


@kernel("quantized_linear", above="naive", dtypes=("float32",))
def unfused(x, w, b, out=None, activation="none"):
    target = destination("quantized_linear", (x, w, b), out, activation=activation)
    codes, scales = _row_codes(x)
    weights, steps = weight_codes(w)
    sums = np.matmul(codes.astype(np.float64), weights.astype(np.float64))
    result = sums.astype(np.float32) * scales * steps + b
    if activation == "relu":
        result = np.maximum(result, 0)
    elif activation in GELU_FORMS:
        result = gelu.unfused(result, approximate=GELU_FORMS[activation])
    target[...] = result
    return target
