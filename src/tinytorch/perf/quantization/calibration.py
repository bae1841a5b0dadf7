"""Calibration: which range of activations the codes of a static scheme should cover.

min-max covers all that was seen. A percentile leaves the rarest values out, which then saturate,
and so makes the steps smaller. MSE tries ranges and keeps the one whose codes come nearest.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.errors import InvalidValue, MeasurementError, UnknownName
from tinytorch.ops.spec import Array
from tinytorch.perf.quantization.affine import (
    affine_parameters,
    checked_values,
    codes_of,
    values_of,
)

METHODS = ("minmax", "percentile", "mse")
# Values that the MSE search looks at: drawn evenly from all, because each try reads them all.
_MSE_SAMPLES = 1 << 16
_MSE_SHARES = np.linspace(1.0, 0.2, 41)


class Observer:
    """Sees activations, then says which scale and zero point suit them."""

    def __init__(self, method: str = "minmax", percentile: float = 99.9) -> None:
        """Choose the method; `percentile` is the percentage of all values that its range covers."""
        if method not in METHODS:
            raise UnknownName("calibration method", method, METHODS)
        if not 50 < percentile <= 100:
            raise InvalidValue(f"percentile must be over 50 and at most 100, got {percentile!r}")
        self.method, self.percentile = method, percentile
        self._low = self._high = 0.0
        self._seen: list[Array] = []
        self.count = 0

    def observe(self, values: Any) -> None:
        """Take a batch of activations into account; raises InvalidValue for NaN and infinities."""
        array = checked_values(values, "activations to calibrate by")
        if not array.size:
            return
        self.count += array.size
        self._low = min(self._low, float(array.min()))
        self._high = max(self._high, float(array.max()))
        if self.method != "minmax":
            self._seen.append(np.asarray(array, np.float32).ravel().copy())

    def range(self) -> tuple[float, float]:
        """Return the range to cover; raises MeasurementError where nothing was seen."""
        if not self.count:
            raise MeasurementError("calibration has seen no values: give it sample inputs")
        if self.method == "percentile":
            left_out = (100 - self.percentile) / 2
            seen = np.concatenate(self._seen)
            low, high = np.percentile(seen, (left_out, 100 - left_out))
            return min(0.0, float(low)), max(0.0, float(high))
        return self._least_error() if self.method == "mse" else (self._low, self._high)

    def _least_error(self) -> tuple[float, float]:
        seen = np.concatenate(self._seen)
        if seen.size > _MSE_SAMPLES:
            seen = seen[np.linspace(0, seen.size - 1, _MSE_SAMPLES).astype(np.int64)]
        ranges = [(share * self._low, share * self._high) for share in _MSE_SHARES]
        return min(ranges, key=lambda bounds: _error(seen, *bounds))

    def parameters(self) -> tuple[float, int]:
        """Return the scale and the zero point of affine int8 codes over the range."""
        scale, zero_point = affine_parameters(*map(np.float64, self.range()))
        return float(scale), int(zero_point)


def _error(values: Array, low: float, high: float) -> float:
    scale, zero_point = affine_parameters(np.float64(low), np.float64(high))
    met = values_of(codes_of(values, scale, zero_point), scale, zero_point)
    return float(np.square(met.astype(np.float64) - values).mean())
