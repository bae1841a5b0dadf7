"""Rules of reductions over all axes, or some."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.core.graph import Rule
from tinytorch.ops.spec import Array, Shape

Axis = int | tuple[int, ...] | None


def _kept(x: Array, shape: Shape, axis: Axis) -> Array:
    """Return a reduction's result (or gradient) with the reduced axes back, at size 1."""
    if axis is None:
        return x.reshape((1,) * len(shape))
    axes = axis if isinstance(axis, tuple) else (axis,)
    reduced = {a % len(shape) for a in axes}
    return x.reshape([1 if i in reduced else n for i, n in enumerate(shape)])


def _count(shape: Shape, axis: Axis) -> int:
    axes = range(len(shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    count = 1
    for a in axes:
        count *= shape[a]
    return count


class SumBackward(Rule):
    """The sum."""

    __slots__ = ()

    def forward(self, x: Array, axis: Axis, keepdims: bool) -> Any:
        """Compute with NumPy."""
        self.saved = x.shape, axis
        return x.sum(axis=axis, keepdims=keepdims)

    def backward(self, grad: Array) -> Any:
        """The gradient, for every element of the sum."""
        shape, axis = self.saved
        return np.broadcast_to(_kept(grad, shape, axis), shape)


class MeanBackward(Rule):
    """The mean."""

    __slots__ = ()

    def forward(self, x: Array, axis: Axis, keepdims: bool) -> Any:
        """Compute with NumPy."""
        self.saved = x.shape, axis
        return x.mean(axis=axis, keepdims=keepdims)

    def backward(self, grad: Array) -> Any:
        """The gradient's share, for every element of the mean."""
        shape, axis = self.saved
        share = grad / grad.dtype.type(max(_count(shape, axis), 1))
        return np.broadcast_to(_kept(np.asarray(share), shape, axis), shape)


class MaxBackward(Rule):
    """The largest element; ties share the gradient."""

    __slots__ = ()
    fresh = True
    largest = True

    def forward(self, x: Array, axis: Axis, keepdims: bool) -> Any:
        """Keep x and the result."""
        found = (x.max if self.largest else x.min)(axis=axis, keepdims=keepdims)
        self.saved = x, np.asarray(found), axis
        return found

    def backward(self, grad: Array) -> Any:
        """The gradient goes to the elements that equal the result."""
        x, found, axis = self.saved
        equal = (x == _kept(found, x.shape, axis)).astype(grad.dtype)
        equal /= equal.sum(axis=axis, keepdims=True)
        equal *= _kept(grad, x.shape, axis)
        return equal


class MinBackward(MaxBackward):
    """The smallest element; ties share the gradient."""

    __slots__ = ()
    largest = False


class VarBackward(Rule):
    """The variance: squared distances from the mean, summed, over the count less `ddof`."""

    __slots__ = ()
    fresh = True

    def forward(self, x: Array, axis: Axis, keepdims: bool, ddof: int) -> Any:
        """Keep x."""
        self.saved = x, axis, ddof
        return x.var(axis=axis, keepdims=keepdims, ddof=ddof)

    def backward(self, grad: Array) -> Any:
        """2 (x - mean) / (n - ddof)."""
        x, axis, ddof = self.saved
        away = x - x.mean(axis=axis, keepdims=True)
        return away * _kept(grad * x.dtype.type(2 / (_count(x.shape, axis) - ddof)), x.shape, axis)


class StdBackward(Rule):
    """The square root of the variance."""

    __slots__ = ()
    fresh = True

    def forward(self, x: Array, axis: Axis, keepdims: bool, ddof: int) -> Any:
        """Keep x and the result."""
        found = x.std(axis=axis, keepdims=keepdims, ddof=ddof)
        self.saved = x, np.asarray(found), axis, ddof
        return found

    def backward(self, grad: Array) -> Any:
        """(x - mean) / ((n - ddof) std); 0 where all are equal."""
        x, found, axis, ddof = self.saved
        away = x - x.mean(axis=axis, keepdims=True)
        per = grad / (found * found.dtype.type(_count(x.shape, axis) - ddof))
        return away * _kept(np.where(found == 0, found.dtype.type(0), per), x.shape, axis)
