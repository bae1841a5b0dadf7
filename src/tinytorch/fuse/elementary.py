"""`erf` of plain arrays, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.native import vmath
from tinytorch.native.codecache import jit


@jit
def _erf_loop(x, out):
    for i in range(x.size):
        out[i] = vmath.erf(x[i])


def erf_of(x: Any) -> Any:
    """Return erf of an array or a number; what is not float32 becomes float64."""
    values = np.asarray(x)
    dtype = np.float32 if values.dtype == np.float32 else np.float64
    flat = np.ascontiguousarray(values, dtype).reshape(-1)
    out = np.empty_like(flat)
    _erf_loop(flat, out)
    return out.reshape(values.shape)[()]
