"""Activations as layers: callable, without parameters, stable for any finite input."""

from __future__ import annotations

from typing import Any, ClassVar

from tinytorch.core.layers import Layer, as_tensor
from tinytorch.core.rules.elementwise import SiLUBackward
from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue

__all__ = ["GELU", "ReLU", "SiLU", "Sigmoid", "Softmax", "Tanh"]


class ReLU(Layer):
    """max(x, 0)."""

    epilogue: ClassVar[str] = "relu"  # what `linear` calls it

    def forward(self, x: Any) -> Tensor:
        """Apply to each element."""
        return as_tensor(x).relu()


class Sigmoid(Layer):
    """1 / (1 + exp(-x))."""

    def forward(self, x: Any) -> Tensor:
        """Apply to each element."""
        return as_tensor(x).sigmoid()


class Tanh(Layer):
    """The hyperbolic tangent."""

    def forward(self, x: Any) -> Tensor:
        """Apply to each element."""
        return as_tensor(x).tanh()


class GELU(Layer):
    """x times the normal distribution function (Hendrycks and Gimpel, 2016).

    In its tanh form, as GPT-2 has it, or exact with `approximate="none"`.
    """

    def __init__(self, approximate: str = "tanh") -> None:
        """Choose the form. Raises InvalidValue for any other."""
        if approximate not in ("tanh", "none"):
            raise InvalidValue(f"GELU's approximate must be 'tanh' or 'none', got {approximate!r}")
        self.approximate = approximate

    def forward(self, x: Any) -> Tensor:
        """Apply to each element."""
        return as_tensor(x).gelu(self.approximate)


class SiLU(Layer):
    """x / (1 + exp(-x)), also known as swish."""

    def forward(self, x: Any) -> Tensor:
        """Apply to each element."""
        return SiLUBackward.apply(as_tensor(x))  # type: ignore[no-any-return]


class Softmax(Layer):
    """exp(x) / sum(exp(x)) along an axis; the largest element is taken off first."""

    def __init__(self, dim: int = -1) -> None:
        """Keep the axis."""
        self.dim = dim

    def forward(self, x: Any, dim: int | None = None) -> Tensor:
        """Apply along `dim`, by default the layer's own axis."""
        return as_tensor(x).softmax(self.dim if dim is None else dim)
