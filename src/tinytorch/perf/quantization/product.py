"""The product of int8 activations and int8 weights, in float32: x @ W + b.

With x = sx (qx - z) and W = sw qw, a sum over K is sx sw (sum qx qw - z sum qw): the correction
by the zero point needs only the weight's column sums, which are known beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinytorch.backends import get_backend
from tinytorch.ops.spec import Array
from tinytorch.perf.quantization import affine


@dataclass(frozen=True)
class Int8Weight:
    """Codes of a weight (K, N), symmetric with a float32 scale an output, and their column sums."""

    _codes: Array
    scale: Array
    sums: Array

    @classmethod
    def of(cls, weight: Array) -> Int8Weight:
        """Quantize a weight (inputs, outputs)."""
        found = affine.quantize(weight, axis=1, symmetric=True)
        sums = found.codes.sum(axis=0, dtype=np.int32)
        return cls(found.codes, found.scale.astype(np.float32), sums)

    def codes(self) -> Array:
        """Return the codes, int8, (K, N)."""
        return self._codes

    @property
    def inputs(self) -> int:
        """K."""
        return int(self._codes.shape[0])

    @property
    def outputs(self) -> int:
        """N."""
        return int(self._codes.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes of all that is kept."""
        return self._codes.nbytes + self.scale.nbytes + self.sums.nbytes


def _sums(codes: Array, weight: Int8Weight) -> Array:
    return get_backend().dispatch("int8_matmul", codes, weight.codes())


def dynamic(rows: Array, weight: Int8Weight, bias: Array | None) -> Array:
    """Return rows @ W + b, each row coded by its own largest magnitude."""
    reach = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    scale = np.where(reach > 0, reach, 1).astype(np.float32) / np.float32(127)
    codes = np.rint(rows / scale).clip(-127, 127).astype(np.int8)
    result = _sums(codes, weight).astype(np.float32)
    result *= scale
    return _finished(result, weight, bias)


def static(
    rows: Array, weight: Int8Weight, bias: Array | None, scale: float, zero_point: int
) -> Array:
    """Return rows @ W + b with one scale and zero point for all; what is beyond them saturates."""
    codes = affine.codes_of(rows, scale, zero_point)
    sums = _sums(codes, weight) - zero_point * weight.sums
    return _finished(sums.astype(np.float32) * np.float32(scale), weight, bias)


def _finished(result: Array, weight: Int8Weight, bias: Array | None) -> Array:
    result *= weight.scale
    if bias is not None:
        result += bias
    return result
