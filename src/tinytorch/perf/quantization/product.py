"""The weight of an INT8 layer, and its product with activations: x @ W + b in float32.

The kernel is `kernels.quantized`: rows become codes as they are multiplied, sums are int32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinytorch.kernels.quantized import PackedWeight, prepack, quantized_linear
from tinytorch.ops.spec import Array
from tinytorch.perf.quantization.affine import checked_values

# Rows of the identity that are multiplied at a time to read codes back.
_ROWS = 512


@dataclass(frozen=True)
class Int8Weight:
    """Codes of a weight (K, N), symmetric with a float32 scale an output, packed for this CPU."""

    packed: PackedWeight

    @classmethod
    def of(cls, weight: Array) -> Int8Weight:
        """Quantize and pack a weight (inputs, outputs)."""
        values = checked_values(weight, "a weight to quantize")
        return cls(prepack(np.ascontiguousarray(values, np.float32)))

    @property
    def scale(self) -> Array:
        """One scale an output."""
        return self.packed.scales

    def codes(self) -> Array:
        """Return the codes, int8, (K, N): read back by multiplying the identity."""
        K, N = self.packed.shape
        codes = np.empty((K, N), np.int8)
        for first in range(0, K, _ROWS):
            rows = np.zeros((min(_ROWS, K - first), K), np.float32)
            np.fill_diagonal(rows[:, first:], 1)
            # A row of one 1 has the exact code for it, so a product is code x scale, rounded once.
            values = quantized_linear(rows, self.packed)
            codes[first : first + _ROWS] = np.rint(values / self.packed.scales)
        return codes

    @property
    def inputs(self) -> int:
        """K."""
        return int(self.packed.shape[0])

    @property
    def outputs(self) -> int:
        """N."""
        return int(self.packed.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes of all that is kept: codes, scales, sums of columns, ways of summing."""
        return self.packed.nbytes


def multiply(
    rows: Array, weight: Int8Weight, bias: Array | None, span: tuple[float, float] | None
) -> Array:
    """Return rows @ W + b; rows in codes of their own each, or all in those that cover `span`."""
    if not len(rows):
        return np.empty((0, weight.outputs), np.float32)
    return quantized_linear(rows, weight.packed, bias, span=span)
