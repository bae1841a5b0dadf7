"""Rules that move elements, and compute nothing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch.core.compute import add_rows, unbroadcast, where
from tinytorch.core.graph import Rule
from tinytorch.ops.spec import Array, Shape


class ReshapeBackward(Rule):
    """The same elements in another shape."""

    __slots__ = ()

    def forward(self, x: Array, shape: Shape) -> Array:
        """A view where the strides allow it."""
        self.saved = (x.shape,)
        return x.reshape(shape)

    def backward(self, grad: Array) -> Any:
        """The gradient in x's shape."""
        return grad.reshape(self.saved[0])


class TransposeBackward(Rule):
    """Two axes exchanged."""

    __slots__ = ()

    def forward(self, x: Array, dim0: int, dim1: int) -> Array:
        """A view."""
        self.saved = dim0, dim1
        return x.swapaxes(dim0, dim1)

    def backward(self, grad: Array) -> Any:
        """The same exchange."""
        return grad.swapaxes(*self.saved)


class PermuteBackward(Rule):
    """The axes in another order."""

    __slots__ = ()

    def forward(self, x: Array, axes: tuple[int, ...]) -> Array:
        """A view."""
        self.saved = tuple(a % x.ndim for a in axes)
        return x.transpose(axes)

    def backward(self, grad: Array) -> Any:
        """The order that undoes it."""
        return grad.transpose(np.argsort(self.saved))


class ExpandBackward(Rule):
    """Axes of size 1 repeated, by broadcasting."""

    __slots__ = ()

    def forward(self, x: Array, shape: Shape) -> Array:
        """A view that can't be written."""
        self.saved = (x.shape,)
        return np.broadcast_to(x, shape)

    def backward(self, grad: Array) -> Any:
        """The sum over what was repeated."""
        return unbroadcast(grad, self.saved[0])


def _repeats(index: Any) -> bool:
    """Say whether an index may name an element twice."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(isinstance(p, list | np.ndarray) and np.asarray(p).dtype.kind != "b" for p in parts)


def _as_numbers(index: Any, shape: Shape) -> tuple[Array, int] | None:
    """Return the elements that an index of integers alone names, and how many axes it takes.

    They are counted over those axes, the first ones of `shape`, as if these were one. None for an
    index with anything else in it.
    """
    parts = [np.asarray(p) for p in (index if isinstance(index, tuple) else (index,))]
    if any(p.dtype.kind not in "iu" for p in parts):
        return None
    places = [p.astype(np.int64, copy=False) for p in parts]
    counted = np.ravel_multi_index(places, shape[: len(parts)], mode="wrap")
    return np.asarray(counted), len(parts)


class SliceBackward(Rule):
    """x[index], of any kind that NumPy knows."""

    __slots__ = ()
    fresh = True

    def forward(self, x: Array, index: Any) -> Array:
        """A view for slices and integers, a copy for arrays."""
        self.saved = x.shape, x.dtype, index
        return np.asarray(x[index])

    def backward(self, grad: Array) -> Any:
        """Zeros, with the gradient added where the elements came from."""
        shape, dtype, index = self.saved
        full = np.zeros(shape, dtype)
        if not _repeats(index):
            full[index] = grad
        elif (named := _as_numbers(index, shape)) is None:
            np.add.at(full, index, grad)
        else:
            numbers, axes = named
            rows = full.reshape(math.prod(shape[:axes]), math.prod(shape[axes:]))
            add_rows(rows, numbers.reshape(-1), grad.reshape(numbers.size, rows.shape[1]))
        return full


class ConcatBackward(Rule):
    """Arrays one after the other, along an axis."""

    __slots__ = ()

    def forward(self, *parts: Array, axis: int) -> Array:
        """Copy."""
        self.saved = axis, np.cumsum([p.shape[axis] for p in parts])[:-1]
        return np.concatenate(parts, axis)

    def backward(self, grad: Array) -> Any:
        """Each one's part of the gradient."""
        axis, places = self.saved
        return tuple(np.split(grad, places, axis))


class StackBackward(Rule):
    """Arrays of one shape along a new axis."""

    __slots__ = ()

    def forward(self, *parts: Array, axis: int) -> Array:
        """Copy."""
        self.saved = (axis,)
        return np.stack(parts, axis)

    def backward(self, grad: Array) -> Any:
        """Each one's part of the gradient."""
        return tuple(np.moveaxis(grad, self.saved[0], 0))


class WhereBackward(Rule):
    """a where a condition holds, else b."""

    __slots__ = ()
    fresh = True

    def forward(self, a: Array, b: Array, condition: Array) -> Array:
        """Copy."""
        self.saved = condition, a.shape, b.shape
        return where(condition, a, b)

    def backward(self, grad: Array) -> Any:
        """The gradient goes where the element came from."""
        condition, a, b = self.saved
        for_a, for_b = self.edges
        zero = np.zeros((), grad.dtype)
        return (
            None if for_a is None else unbroadcast(where(condition, grad, zero), a),
            None if for_b is None else unbroadcast(where(condition, zero, grad), b),
        )


class MaskedFillBackward(Rule):
    """x, with a number where the mask holds."""

    __slots__ = ()
    fresh = True

    def forward(self, x: Array, mask: Array, value: float) -> Array:
        """Copy."""
        self.saved = mask, x.shape
        return where(mask, np.array(value, x.dtype), x)

    def backward(self, grad: Array) -> Any:
        """The gradient, where the mask does not hold."""
        mask, shape = self.saved
        return unbroadcast(where(mask, np.zeros((), grad.dtype), grad), shape)
