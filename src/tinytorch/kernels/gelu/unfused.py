"""NumPy, one array operation a step: seven temporaries.

The interpreter is gone from the elements, but each of the nine steps reads its operands from
memory and writes a whole array back: 21 passes where 2 would do. (NumPy spares an eighth temporary
by writing the cube over the square.) NumPy has no erf, so the erf form calls `math.erf` on one
element after another.
"""

import math

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel
from tinytorch.ops.gelu import CUBIC, SQRT_2_OVER_PI

_erf = np.frompyfunc(math.erf, 1, 1)


def _tanh_form(x):
    # NOTE: x**3 in float32 NumPy calls pow, far slower than two products.
    cube = x * x * x
    scaled_cube = x.dtype.type(CUBIC) * cube
    inner = x + scaled_cube
    argument = x.dtype.type(SQRT_2_OVER_PI) * inner
    curve = np.tanh(argument)
    shifted = x.dtype.type(1) + curve
    product = x * shifted
    return x.dtype.type(0.5) * product


def _erf_form(x):
    scaled = x / x.dtype.type(math.sqrt(2))
    curve = np.asarray(_erf(scaled)).astype(x.dtype)
    shifted = x.dtype.type(1) + curve
    product = x * shifted
    return x.dtype.type(0.5) * product


@kernel("gelu", above="naive")
def unfused(x, out=None, approximate="tanh"):
    out_given = out is not None
    target = destination("gelu", (x,), out, approximate=approximate) if out_given else None
    with np.errstate(over="ignore", invalid="ignore"):
        result = np.asarray(_tanh_form(x) if approximate == "tanh" else _erf_form(x))
    if target is None:
        return result
    target[...] = result
    return target
