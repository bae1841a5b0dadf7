"""Rules of one operand, element by element; they keep the result rather than x where it does."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.core import compute
from tinytorch.core.graph import Rule
from tinytorch.ops.spec import Array


class Elementwise(Rule):
    """What they share: each backward returns a new array."""

    __slots__ = ()
    fresh = True


class ExpBackward(Elementwise):
    """exp(x)."""

    __slots__ = ()

    def forward(self, x: Array) -> Array:
        """Keep the result."""
        y = compute.elementary("exp", x)
        self.saved = (y,)
        return y

    def backward(self, grad: Array) -> Any:
        """exp' = exp."""
        return compute.multiply(grad, np.asarray(self.saved[0]))


class LogBackward(Elementwise):
    """log(x)."""

    __slots__ = ()

    def forward(self, x: Array) -> Array:
        """Keep x."""
        self.saved = (x,)
        return compute.elementary("log", x)

    def backward(self, grad: Array) -> Any:
        """log'(x) = 1 / x."""
        return np.divide(grad, self.saved[0])


class SqrtBackward(Elementwise):
    """sqrt(x)."""

    __slots__ = ()

    def forward(self, x: Array) -> Array:
        """Keep the result."""
        y = np.sqrt(x)
        self.saved = (y,)
        return y

    def backward(self, grad: Array) -> Any:
        """sqrt'(x) = 1 / (2 sqrt(x))."""
        return np.divide(grad, self.saved[0] * 2)


class AbsBackward(Elementwise):
    """|x|."""

    __slots__ = ()

    def forward(self, x: Array) -> Array:
        """Keep x."""
        self.saved = (x,)
        return np.abs(x)

    def backward(self, grad: Array) -> Any:
        """The sign of x; 0 at 0."""
        return grad * np.sign(self.saved[0])


class ClipBackward(Elementwise):
    """x, no less than `low` and no more than `high`."""

    __slots__ = ()

    def forward(self, x: Array, low: float | None, high: float | None) -> Array:
        """Keep x."""
        self.saved = x, low, high
        return np.clip(x, low, high)

    def backward(self, grad: Array) -> Any:
        """The gradient, where x was within the limits or on them."""
        x, low, high = self.saved
        inside = np.ones(x.shape, bool) if low is None else x >= low
        if high is not None:
            inside = inside & (x <= high)
        return grad * inside


class SinBackward(Elementwise):
    """sin(x)."""

    __slots__ = ()

    def forward(self, x: Array) -> Array:
        """Keep x."""
        self.saved = (x,)
        return compute.elementary("sin", x)

    def backward(self, grad: Array) -> Any:
        """sin' = cos."""
        return compute.multiply(grad, compute.elementary("cos", self.saved[0]))


class CosBackward(Elementwise):
    """cos(x)."""

    __slots__ = ()

    def forward(self, x: Array) -> Array:
        """Keep x."""
        self.saved = (x,)
        return compute.elementary("cos", x)

    def backward(self, grad: Array) -> Any:
        """cos' = -sin."""
        return compute.multiply(-grad, compute.elementary("sin", self.saved[0]))


class ReLUBackward(Elementwise):
    """max(x, 0)."""

    __slots__ = ()

    def forward(self, x: Array) -> Array:
        """Compute on the backend, and keep the result."""
        y = compute.relu(x)
        self.saved = (y,)
        return y

    def backward(self, grad: Array) -> Any:
        """The gradient, where x was above 0."""
        return compute.activation_gradient("relu", self.saved[0], grad)


class SigmoidBackward(Elementwise):
    """1 / (1 + exp(-x))."""

    __slots__ = ()

    def forward(self, x: Array) -> Array:
        """Compute on the backend, and keep the result."""
        y = compute.sigmoid(x)
        self.saved = (y,)
        return y

    def backward(self, grad: Array) -> Any:
        """s' = s (1 - s)."""
        return compute.activation_gradient("sigmoid", self.saved[0], grad)


class TanhBackward(Elementwise):
    """tanh(x)."""

    __slots__ = ()

    def forward(self, x: Array) -> Array:
        """Compute on the backend, and keep the result."""
        y = compute.tanh(x)
        self.saved = (y,)
        return y

    def backward(self, grad: Array) -> Any:
        """tanh' = 1 - tanh^2."""
        return compute.activation_gradient("tanh", self.saved[0], grad)


class GELUBackward(Elementwise):
    """GELU: x times the normal distribution function, by its tanh form or exact."""

    __slots__ = ()

    def forward(self, x: Array, approximate: str = "tanh") -> Array:
        """Compute on the backend, and keep x."""
        self.saved = x, approximate
        return compute.gelu(x, approximate)

    def backward(self, grad: Array) -> Any:
        """The slope, from x."""
        x, approximate = self.saved
        return compute.gelu_gradient(x, grad, approximate)


class SiLUBackward(Elementwise):
    """x / (1 + exp(-x))."""

    __slots__ = ()

    def forward(self, x: Array) -> Array:
        """Compute on the backend, and keep x."""
        self.saved = (x,)
        return compute.silu(x)

    def backward(self, grad: Array) -> Any:
        """The slope, from x."""
        return compute.silu_gradient(self.saved[0], grad)
