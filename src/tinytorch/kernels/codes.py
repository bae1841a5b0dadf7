"""Numbers as INT8 codes: value = code * scale, with one scale for a whole array."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.errors import InvalidValue
from tinytorch.ops.spec import Array

# Products of two codes reach 2^14: an int32 holds the sum of so many for certain.
LARGEST_DEPTH = (2**31 - 1) // 2**14


def checked_scale(value: Any, name: str) -> float:
    """Return a scale as a float; raises InvalidValue unless it is positive and float32 holds it."""
    try:
        scale = float(value)
    except (TypeError, ValueError) as error:
        raise InvalidValue(f"{name} must be a positive number, got {value!r}") from error
    limits = np.finfo(np.float32)
    if not float(limits.smallest_subnormal) <= scale <= float(limits.max):
        raise InvalidValue(f"{name} must be a positive number that float32 holds, got {scale!r}")
    return scale


def codes_of(array: Array, scale: float, name: str) -> Array:
    """Return int8 codes: integers are codes already, floats are values, rint(value / scale).

    Both saturate at -128 and 127. Raises InvalidValue for NaN, which no code stands for.
    """
    if array.dtype == np.int8:
        return array
    if array.dtype.kind in "bu":
        return np.minimum(array, 127).astype(np.int8)
    if array.dtype.kind == "f":
        if np.isnan(array).any():
            raise InvalidValue(f"{name} holds NaN, which has no INT8 code: remove or replace it")
        wide = array if array.dtype.itemsize >= 4 else array.astype(np.float32)
        with np.errstate(over="ignore"):  # infinity saturates like everything else
            array = np.rint(wide / scale)
    return np.asarray(np.clip(array, -128, 127).astype(np.int8))


def values_of(codes: Array, scale: float) -> Array:
    """Return codes (or sums of products of codes) times a scale, rounded once to float32."""
    return np.asarray(np.multiply(codes, scale, dtype=np.float64).astype(np.float32))
