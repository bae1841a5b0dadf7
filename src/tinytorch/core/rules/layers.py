"""Rules of layers: a product with its bias, and dropout."""

from __future__ import annotations

from typing import Any

from tinytorch.core import compute
from tinytorch.core.graph import Rule
from tinytorch.ops.spec import Array


class LinearBackward(Rule):
    """x @ w + b, or max(x @ w + b, 0)."""

    __slots__ = ()
    fresh = True

    def forward(self, x: Array, w: Array, b: Array, activation: str = "none") -> Array:
        """Compute on the backend, as one op; relu's slope needs no more than its result."""
        y = compute.linear(x, w, b, activation)
        self.saved = x, w, None if activation == "none" else y
        return y

    def backward(self, grad: Array) -> Any:
        """Two products; the bias's gradient is the sum over all rows."""
        x, w, y = self.saved
        if y is not None:
            grad = compute.activation_gradient("relu", y, grad)
        for_x, for_w, for_b = self.edges
        needed = for_x is not None, for_w is not None, for_b is not None
        return compute.linear_gradients(x, w, grad, needed)


class DropoutBackward(Rule):
    """x * kept, where kept is 0 or the scale."""

    __slots__ = ()
    fresh = True

    def forward(self, x: Array, kept: Array) -> Array:
        """Compute on the backend."""
        self.saved = (kept,)
        return compute.multiply(x, kept)

    def backward(self, grad: Array) -> Any:
        """The same factors."""
        return compute.multiply(grad, self.saved[0])
