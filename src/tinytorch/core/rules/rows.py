"""Rules of softmax and its logarithm, over one axis."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.core import compute
from tinytorch.core.graph import Rule
from tinytorch.ops.spec import Array


def _last(x: Array, dim: int) -> Array:
    """Return x with an axis exchanged with the last one, and its elements in that order."""
    if dim in (-1, x.ndim - 1):
        return x
    return np.ascontiguousarray(x.swapaxes(dim, -1))


def _back(x: Array, dim: int) -> Array:
    return x if dim in (-1, x.ndim - 1) else x.swapaxes(dim, -1)


class SoftmaxBackward(Rule):
    """exp(x) / sum(exp(x)) over an axis."""

    __slots__ = ()
    fresh = True

    def forward(self, x: Array, dim: int = -1) -> Array:
        """Compute on the backend, and keep the result."""
        y = compute.softmax(_last(x, dim))
        self.saved = y, dim
        return _back(y, dim)

    def backward(self, grad: Array) -> Any:
        """y * (grad - sum(grad * y))."""
        y, dim = self.saved
        return _back(compute.softmax_gradient(y, _last(grad, dim)), dim)


class LogSoftmaxBackward(Rule):
    """x - log(sum(exp(x))) over an axis."""

    __slots__ = ()
    fresh = True

    def forward(self, x: Array, dim: int = -1) -> Array:
        """Keep the result."""
        y = compute.log_softmax(_last(x, dim))
        self.saved = y, dim
        return _back(y, dim)

    def backward(self, grad: Array) -> Any:
        """grad - softmax * sum(grad)."""
        y, dim = self.saved
        return _back(compute.log_softmax_gradient(y, _last(grad, dim)), dim)
