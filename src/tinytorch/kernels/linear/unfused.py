"""The library's product, then the bias, then the activation: each an array operation of NumPy.

The product is the library's best; but the bias and every step of the activation read the whole
output and write a new one: for gelu 18 passes over memory after a product that needed one.
"""

import numpy as np

from tinytorch.kernels.gelu import unfused as gelu
from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.linear import GELU_FORMS


@kernel("linear", above="naive")
def unfused(x, w, b, out=None, activation="none"):
    target = destination("linear", (x, w, b), out, activation=activation)
    result = np.matmul(x, w) + b
    if activation == "relu":
        result = np.maximum(result, 0)
    elif activation in GELU_FORMS:
        result = gelu.unfused(result, approximate=GELU_FORMS[activation])
    target[...] = result
    return target
