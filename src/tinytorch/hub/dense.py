"""A linear layer of a model that is only applied: its weight is packed when it is first needed.

Under the backends `auto` and `native` it runs on our own product, with bias, activation and
residual finished in each tile; under any other, on that backend's op `linear`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tinytorch.backends import get_backend
from tinytorch.hub.folder import Array, Weights

if TYPE_CHECKING:
    from tinytorch.kernels.quantized import PackedWeight
    from tinytorch.native.gemm.prepacked import PackedMatrix

_OURS = ("auto", "native")


def is_native() -> bool:
    """Say whether the current backend is one that leads to our own kernels."""
    return get_backend().name in _OURS


@dataclass(frozen=True)
class PlainDense:
    """activation(x @ weight + bias) + residual in float32: weight (K, N), bias (N,)."""

    weight: Array
    bias: Array

    @functools.cached_property
    def _packed(self) -> PackedMatrix:
        from tinytorch.kernels.gemm import prepack

        return prepack(self.weight)

    def __call__(self, x: Array, activation: str = "none", residual: Array | None = None) -> Array:
        """Return the layer's output (T, N) for x (T, K) and a residual (T, N)."""
        if is_native():
            from tinytorch.kernels.gemm import gemm

            return gemm(x, self._packed, bias=self.bias, activation=activation, residual=residual)
        backend = get_backend()
        y = backend.dispatch("linear", x, self.weight, self.bias, activation=activation)
        return y if residual is None else backend.dispatch("add", y, residual)


@dataclass(frozen=True)
class QuantizedDense:
    """The same with INT8 products: weights in codes by column, activations by row.

    The depth may be cut into several parts, each with scales of its own for both; then there is no
    activation. `inverse` (K,) is what activations are multiplied by before they become codes.
    """

    parts: tuple[PackedWeight, ...]
    bias: Array
    inverse: Array | None = None

    def __call__(self, x: Array, activation: str = "none", residual: Array | None = None) -> Array:
        """Return the layer's output (T, N) for x (T, K) and a residual (T, N)."""
        from tinytorch.kernels.quantized import quantized_linear

        assert activation == "none" or len(self.parts) == 1
        if self.inverse is not None:
            x = x * self.inverse
        cut = np.split(x, len(self.parts), axis=1)
        y = quantized_linear(cut[0], self.parts[0], self.bias, activation)
        for part, own in zip(self.parts[1:], cut[1:], strict=True):
            y += quantized_linear(own, part)
        if residual is not None:
            y += residual
        return y


def read_dense(weights: Weights, names: Sequence[str], inputs: int, outputs: int) -> PlainDense:
    """Read the layers `names`, stored as (N, K) and (N,), as one, their outputs side by side."""
    stored = [weights.get(f"{name}.weight", (outputs, inputs)) for name in names]
    weight = np.concatenate(stored).T if len(stored) > 1 else stored[0].T
    bias = np.concatenate([weights.get(f"{name}.bias", (outputs,)) for name in names])
    return PlainDense(weight, bias)
