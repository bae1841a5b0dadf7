"""Functions that NumPy lacks, for use in fused functions and outside of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.fuse.arrays import Traced, elementwise, operand


def erf(x: Any) -> Any:
    """The error function of an array or a number, in float32 or float64."""
    if isinstance(x, Traced):
        return Traced(x.recorder, elementwise(x.recorder, np.sqrt, "erf", [operand(x.recorder, x)]))
    from tinytorch.fuse.elementary import erf_of  # it loads Numba

    return erf_of(x)
