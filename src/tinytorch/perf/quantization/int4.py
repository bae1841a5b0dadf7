"""4-bit weights in groups: an eighth of float32's bytes, for models that memory limits.

Two codes share a byte. Each group of `group_size` inputs of an output has a scale of its own, in
half precision, so that one large weight spoils 32 or 128 others and not a whole column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch.backends import get_backend
from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.spec import Array
from tinytorch.perf.quantization.affine import checked_values

_HIGHEST = 7
_LARGEST_HALF = float(np.finfo(np.float16).max)
# Columns that are turned into float32 at a time, so that the weight is never whole in float32.
_COLUMNS = 256


@dataclass(frozen=True)
class Int4Weight:
    """Codes -7 .. 7 of a weight (K, N), two to a byte along K, and scales (K / group, N)."""

    packed: Array
    scale: Array
    shape: tuple[int, int]
    group_size: int

    @property
    def nbytes(self) -> int:
        """Bytes of codes and scales."""
        return self.packed.nbytes + self.scale.nbytes

    def codes(self) -> Array:
        """Return the codes as int8, (K, N)."""
        return self._codes(self.packed)[: self.shape[0]]

    def _codes(self, packed: Array) -> Array:
        low, high = (packed & 15).astype(np.int8) - 8, (packed >> 4).astype(np.int8) - 8
        return np.stack([low, high], axis=1).reshape(2 * len(packed), packed.shape[1])

    def dequantize(self, first: int = 0, last: int | None = None) -> Array:
        """Return columns first .. last of the weight as float32."""
        columns = slice(first, last)
        codes = self._codes(self.packed[:, columns]).astype(np.float32)
        groups = codes.reshape(len(self.scale), self.group_size, codes.shape[1])
        groups *= self.scale[:, None, columns].astype(np.float32)
        return groups.reshape(codes.shape)[: self.shape[0]]


def quantize_int4(weight: Any, group_size: int = 32) -> Int4Weight:
    """Return a weight (K, N) as 4-bit codes with a scale for each `group_size` inputs of an output.

    The scale of a group is its largest magnitude / 7, in half precision: a value is met within half
    a scale, and the rounding of the scale itself. Raises InvalidValue for NaN, infinities, and for
    values that half precision can't scale (over 458,000).
    """
    values = checked_values(weight, "a weight to quantize")
    if values.ndim != 2:
        raise ShapeError(f"a weight is (inputs, outputs), got shape {values.shape}")
    if not hasattr(group_size, "__index__") or group_size < 2 or group_size % 2:
        raise InvalidValue(f"group_size must be an even int of at least 2, got {group_size!r}")
    K, N = values.shape
    groups = -(-K // group_size)
    padded = np.zeros((groups * group_size, N))
    padded[:K] = values
    cut = padded.reshape(groups, group_size, N)
    exact = np.abs(cut).max(axis=1, initial=0.0) / _HIGHEST
    if exact.size and exact.max() > _LARGEST_HALF:
        raise InvalidValue(f"the largest weight, {exact.max() * _HIGHEST:g}, has no scale in half")
    scale = exact.astype(np.float16)
    divisor = np.where(scale > 0, scale.astype(np.float64), 1.0)
    codes = np.clip(np.rint(cut / divisor[:, None]), -_HIGHEST, _HIGHEST).astype(np.int8) + 8
    pairs = codes.astype(np.uint8).reshape(-1, 2, N)
    return Int4Weight(pairs[:, 0] | (pairs[:, 1] << 4), scale, (K, N), int(group_size))


class Int4Linear:
    """A linear layer whose weight is kept in 4 bits; products are in float32.

    It saves memory and not time: columns are turned back before they are multiplied.
    """

    def __init__(self, linear: Any, group_size: int = 32) -> None:
        """Take over a layer's weight (inputs, outputs) and bias."""
        self.weight4 = quantize_int4(linear.weight, group_size)
        self.in_features, self.out_features = self.weight4.shape
        held = getattr(linear, "bias", None)
        self.bias = None if held is None else np.array(held.data, np.float32)

    def __call__(self, x: Any) -> Any:
        """Return forward(x)."""
        return self.forward(x)

    def forward(self, x: Any) -> Any:
        """Return x @ W + b for x (..., inputs); no gradient is recorded."""
        given = np.asarray(x.data if isinstance(x, Tensor) else x, np.float32)
        if not given.ndim or given.shape[-1] != self.in_features:
            raise ShapeError(f"expected (..., {self.in_features}), got shape {given.shape}")
        result = np.empty((*given.shape[:-1], self.out_features), np.float32)
        for first in range(0, self.out_features, _COLUMNS):
            part = self.weight4.dequantize(first, first + _COLUMNS)
            result[..., first : first + _COLUMNS] = get_backend().dispatch("matmul", given, part)
        if self.bias is not None:
            result += self.bias
        return Tensor(result) if isinstance(x, Tensor) else result

    def parameters(self) -> list[Any]:
        """Return nothing: codes are not trained."""
        return []

    def memory_usage(self) -> dict[str, float]:
        """Return original_bytes (float32), quantized_bytes (as kept) and compression_ratio."""
        bias = 0 if self.bias is None else self.bias.nbytes
        original = 4 * self.in_features * self.out_features + bias
        kept = self.weight4.nbytes + bias
        return {
            "original_bytes": original,
            "quantized_bytes": kept,
            "compression_ratio": original / kept,
        }
