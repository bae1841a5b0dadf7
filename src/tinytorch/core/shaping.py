"""Layers that change a shape, and compute nothing."""

from __future__ import annotations

from typing import Any

from tinytorch.core.layers import Layer, as_tensor
from tinytorch.core.tensor import Tensor


class Flatten(Layer):
    """The axes from `start_dim` to `end_dim` as one; by default all but the batch's."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        """Keep the axes."""
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Tensor:
        """Return x in its new shape."""
        return as_tensor(x).flatten(self.start_dim, self.end_dim)
