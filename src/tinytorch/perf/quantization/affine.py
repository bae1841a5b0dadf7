"""Values to int8 codes and back: one scale for all, or one a channel; affine or symmetric.

Scales and zero points are worked out in float64, so that neither the smallest subnormal nor the
largest float32 is out of reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.spec import Array

LOWEST, HIGHEST = -128, 127
_STEPS = HIGHEST - LOWEST
_SMALLEST = 5e-324


def checked_values(value: Any, what: str = "a tensor to quantize") -> Array:
    """Return finite real numbers as an ndarray; raises InvalidValue for anything else."""
    array = np.asarray(value.data if isinstance(value, Tensor) else value)
    if array.dtype.kind not in "biuf":
        raise InvalidValue(f"{what} must hold real numbers, got {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InvalidValue(f"{what} must hold finite numbers: it has NaN or inf")
    return array


def affine_parameters(low: Any, high: Any) -> tuple[Array, Array]:
    """Return scales and zero points for ranges, each widened to hold 0, so that 0 has a code.

    All 256 codes are used: scale = (high - low) / 255, zero_point = rint(-128 - low / scale).
    """
    low, high = np.minimum(low, 0).astype(np.float64), np.maximum(high, 0).astype(np.float64)
    scale = high / _STEPS - low / _STEPS  # divided first: the range of float64 itself may overflow
    # A range too small for its 255th part: a step of the smallest float is exact then.
    scale = np.where(scale > 0, scale, np.where(high > low, _SMALLEST, 1.0))
    return scale, np.rint(LOWEST - low / scale).astype(np.int64)


def symmetric_parameters(low: Any, high: Any) -> tuple[Array, Array]:
    """Return scales and zero points of 0 for ranges: scale = max(|low|, |high|) / 127."""
    reach = np.maximum(np.abs(low), np.abs(high)).astype(np.float64)
    scale = reach / HIGHEST
    scale = np.where(scale > 0, scale, np.where(reach > 0, _SMALLEST, 1.0))
    return scale, np.zeros(scale.shape, np.int64)


def codes_of(values: Array, scale: Any, zero_point: Any) -> Array:
    """Return int8 codes, rint(value / scale) + zero_point, saturated."""
    codes = np.rint(np.asarray(values, np.float64) / scale) + zero_point
    return np.asarray(np.clip(codes, LOWEST, HIGHEST).astype(np.int8))


def values_of(codes: Array, scale: Any, zero_point: Any) -> Array:
    """Return (code - zero_point) * scale as float32; what rounds past its largest is that one."""
    values = (codes.astype(np.int64) - zero_point) * np.asarray(scale, np.float64)
    most = np.finfo(np.float32).max
    return np.asarray(np.clip(values, -most, most).astype(np.float32))


@dataclass(frozen=True)
class Codes:
    """Int8 codes with what they stand for; `axis` is that of the channels, None for one scale."""

    codes: Array
    scale: Array
    zero_point: Array
    axis: int | None

    def _along(self, parameter: Array) -> Array:
        if self.axis is None:
            return parameter
        shape = [1] * self.codes.ndim
        shape[self.axis] = -1
        return parameter.reshape(shape)

    def dequantize(self) -> Array:
        """Return the values as float32."""
        return values_of(self.codes, self._along(self.scale), self._along(self.zero_point))

    @property
    def nbytes(self) -> int:
        """Bytes of the codes, and of a float32 scale and an int8 zero point a channel."""
        return self.codes.nbytes + self.scale.size * 4 + self.zero_point.size


def quantize(value: Any, axis: int | None = None, symmetric: bool = False) -> Codes:
    """Return int8 codes of a tensor, with one scale, or one for each index along `axis`.

    Affine codes use the range of the values (and 0); symmetric ones have the zero point 0 and
    leave -128 out, so that each code has its negative. Values are met within half a scale.
    """
    values = checked_values(value)
    if axis is not None:
        if not -values.ndim <= axis < values.ndim:
            raise ShapeError(f"axis {axis} is not one of a tensor of shape {values.shape}")
        axis %= values.ndim
    others = None if axis is None else tuple(i for i in range(values.ndim) if i != axis)
    channels = () if axis is None else (values.shape[axis],)
    if values.size:
        low = values.min(axis=others).astype(np.float64)
        high = values.max(axis=others).astype(np.float64)
    else:
        low = high = np.zeros(channels)
    parameters = symmetric_parameters if symmetric else affine_parameters
    scale, zero_point = parameters(low, high)
    found = Codes(np.empty(0, np.int8), scale, zero_point, axis)
    shape = [1] * values.ndim
    if axis is not None:
        shape[axis] = -1
        scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
    return Codes(codes_of(values, scale, zero_point), found.scale, found.zero_point, axis)


def quantize_int8(t: Any) -> tuple[Any, float, int]:
    """Return (codes, scale, zero_point): int8 codes in the form of `t`, a Tensor or an ndarray.

    value = (code - zero_point) * scale, within half a scale of every value; 0 has a code of its
    own. Raises InvalidValue for NaN and infinities.
    """
    found = quantize(t)
    codes = Tensor(found.codes, dtype=np.int8) if isinstance(t, Tensor) else found.codes
    return codes, float(found.scale), int(found.zero_point)


def dequantize_int8(codes: Any, scale: float, zero_point: int) -> Any:
    """Return float32 values of int8 codes, in the form of `codes`; raises InvalidValue for others.

    The inverse of `quantize_int8`.
    """
    array = checked_values(codes, "codes")
    if array.dtype != np.int8:
        if (array != np.clip(np.rint(array), LOWEST, HIGHEST)).any():
            raise InvalidValue(f"codes must be whole numbers from -128 to 127, got {array.dtype}")
        array = array.astype(np.int8)
    if not (np.isfinite(scale) and scale > 0):
        raise InvalidValue(f"scale must be a positive number, got {scale!r}")
    values = values_of(array, scale, int(zero_point))
    return Tensor(values) if isinstance(codes, Tensor) else values
