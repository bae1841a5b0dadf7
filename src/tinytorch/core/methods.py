"""The methods of a Tensor that compute, reduce or rearrange; every one is differentiable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinytorch.core.graph import apply
from tinytorch.core.operands import binary, cast, is_tensor, plain
from tinytorch.core.rules import arithmetic, elementwise, reduce, rows, shape
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.spec import Shape

if TYPE_CHECKING:
    from tinytorch.core.tensor import Tensor

Axis = int | tuple[int, ...] | None


def _checked_axis(x: Any, axis: Any) -> Axis:
    """Return an axis (or several) as NumPy takes it; raises ShapeError where x has none such."""
    axes = tuple(axis) if isinstance(axis, list | tuple) else axis
    for a in axes if isinstance(axes, tuple) else () if axes is None else (axes,):
        if not isinstance(a, int | np.integer) or not -x.ndim <= a < x.ndim:
            raise ShapeError(f"axis {axis!r} is out of range for a Tensor of shape {x.shape}")
    return axes


def _need_elements(x: Any, axis: Axis, what: str) -> None:
    if not x.size and 0 in [
        x.shape[a] for a in np.atleast_1d(range(x.ndim) if axis is None else axis)
    ]:
        raise ShapeError(f"{what} of no elements: the Tensor has shape {x.shape}")


class Methods:
    """Functions of one Tensor, as methods."""

    __slots__ = ()

    # Products and elementwise functions -----------------------------------------------------------
    def matmul(self: Any, other: Any) -> Tensor:
        """Return the product over the last two axes, batch axes broadcast; vectors as in NumPy.

        Raises ShapeError with both shapes and the inner dimensions where they differ.
        """
        return binary(arithmetic.MatmulBackward, self, other)

    def pow(self: Any, exponent: Any) -> Tensor:
        """Return self ** exponent."""
        return binary(arithmetic.PowBackward, self, exponent)

    def maximum(self: Any, other: Any) -> Tensor:
        """Return the larger of both, elementwise."""
        return binary(arithmetic.MaximumBackward, self, other)

    def minimum(self: Any, other: Any) -> Tensor:
        """Return the smaller of both, elementwise."""
        return binary(arithmetic.MinimumBackward, self, other)

    def exp(self: Any) -> Tensor:
        """Return e to the power of each element."""
        return apply(elementwise.ExpBackward, self)

    def log(self: Any) -> Tensor:
        """Return the natural logarithm."""
        return apply(elementwise.LogBackward, self)

    def sqrt(self: Any) -> Tensor:
        """Return the square root."""
        return apply(elementwise.SqrtBackward, self)

    def abs(self: Any) -> Tensor:
        """Return the absolute value."""
        return apply(elementwise.AbsBackward, self)

    def sin(self: Any) -> Tensor:
        """Return the sine."""
        return apply(elementwise.SinBackward, self)

    def cos(self: Any) -> Tensor:
        """Return the cosine."""
        return apply(elementwise.CosBackward, self)

    def clip(self: Any, min: float | None = None, max: float | None = None) -> Tensor:
        """Return the elements, no less than `min` and no more than `max`."""
        return apply(elementwise.ClipBackward, self, low=min, high=max)

    def relu(self: Any) -> Tensor:
        """Return max(x, 0)."""
        return apply(elementwise.ReLUBackward, self)

    def sigmoid(self: Any) -> Tensor:
        """Return 1 / (1 + exp(-x))."""
        return apply(elementwise.SigmoidBackward, self)

    def tanh(self: Any) -> Tensor:
        """Return the hyperbolic tangent."""
        return apply(elementwise.TanhBackward, self)

    def gelu(self: Any, approximate: str = "tanh") -> Tensor:
        """Return GELU, in its tanh form or (`approximate="none"`) exact."""
        return apply(elementwise.GELUBackward, self, approximate=approximate)

    def softmax(self: Any, dim: int = -1) -> Tensor:
        """Return softmax along an axis."""
        _checked_axis(self, dim)
        return apply(rows.SoftmaxBackward, self, dim=dim)

    def log_softmax(self: Any, dim: int = -1) -> Tensor:
        """Return the logarithm of softmax along an axis, computed without forming softmax."""
        _checked_axis(self, dim)
        return apply(rows.LogSoftmaxBackward, self, dim=dim)

    def masked_fill(self: Any, mask: Any, value: float) -> Tensor:
        """Return the elements, with `value` where `mask` (which broadcasts) is true."""
        held = np.asarray(mask._data if is_tensor(mask) else mask).astype(bool, copy=False)
        try:
            return apply(shape.MaskedFillBackward, self, mask=held, value=float(value))
        except ValueError as error:
            raise ShapeError(f"a mask of {held.shape} does not fit {self.shape}") from error

    def astype(self: Any, dtype: Any) -> Tensor:
        """Return a Tensor of another dtype; between floats, gradients flow through."""
        return cast(self, dtype) if self.dtype != np.dtype(dtype) else plain(self._data.copy())

    # Shape ----------------------------------------------------------------------------------------
    def reshape(self: Any, *shape_: int | tuple[int, ...]) -> Tensor:
        """Return the same elements in another shape; one size may be -1."""
        wanted = shape_[0] if len(shape_) == 1 and isinstance(shape_[0], tuple | list) else shape_
        try:
            return apply(shape.ReshapeBackward, self, shape=wanted)
        except (ValueError, TypeError) as error:
            asked = tuple(wanted) if isinstance(wanted, tuple | list) else wanted
            raise ShapeError(f"can't reshape {self.shape} to {asked}: {error}") from error

    view = reshape

    def flatten(self: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Return the axes from `start_dim` to `end_dim` as one, by default all of them."""
        if self.ndim == 0:
            return self.reshape(1)  # type: ignore[no-any-return]
        _checked_axis(self, (start_dim, end_dim))
        first, last = start_dim % self.ndim, end_dim % self.ndim
        if first > last:
            raise ShapeError(f"flatten from axis {start_dim} to {end_dim}: they are out of order")
        merged = int(np.prod(self.shape[first : last + 1]))
        return self.reshape(*self.shape[:first], merged, *self.shape[last + 1 :])  # type: ignore[no-any-return]

    def transpose(self: Any, dim0: int | None = None, dim1: int | None = None) -> Tensor:
        """Return a view with two axes exchanged, by default the last two."""
        if dim0 is None and dim1 is None:
            if self.ndim < 2:
                return self  # type: ignore[no-any-return]
            return apply(shape.TransposeBackward, self, dim0=-2, dim1=-1)
        if dim0 is None or dim1 is None:
            raise InvalidValue("transpose takes no axes or two, got one")
        _checked_axis(self, (dim0, dim1))
        return apply(shape.TransposeBackward, self, dim0=dim0, dim1=dim1)

    def permute(self: Any, *axes: int | tuple[int, ...]) -> Tensor:
        """Return a view with the axes in another order."""
        order: Any = axes[0] if len(axes) == 1 and isinstance(axes[0], tuple | list) else axes
        _checked_axis(self, order)
        if sorted(a % self.ndim for a in order) != list(range(self.ndim)):
            raise ShapeError(f"permute needs each of {self.ndim} axes once, got {tuple(order)}")
        return apply(shape.PermuteBackward, self, axes=tuple(order))

    def squeeze(self: Any, dim: int | None = None) -> Tensor:
        """Return the Tensor without its axes of size 1, or without that one."""
        if dim is None:
            return self.reshape(tuple(n for n in self.shape if n != 1))  # type: ignore[no-any-return]
        _checked_axis(self, dim)
        if self.shape[dim] != 1:
            return self  # type: ignore[no-any-return]
        return self.reshape(tuple(np.delete(self.shape, dim)))  # type: ignore[no-any-return]

    def unsqueeze(self: Any, dim: int) -> Tensor:
        """Return the Tensor with a new axis of size 1 at `dim`."""
        if not isinstance(dim, int) or not -self.ndim - 1 <= dim <= self.ndim:
            raise ShapeError(f"unsqueeze at {dim!r}: a Tensor of shape {self.shape} has no place")
        sizes = list(self.shape)
        sizes.insert(dim if dim >= 0 else dim + self.ndim + 1, 1)
        return self.reshape(tuple(sizes))  # type: ignore[no-any-return]

    def expand(self: Any, *sizes: int) -> Tensor:
        """Return a view with axes of size 1 repeated; -1 keeps a size."""
        wanted: Any = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], tuple | list) else sizes
        own: Shape = (1,) * (len(wanted) - self.ndim) + self.shape
        try:
            full = tuple(o if n == -1 else n for n, o in zip(wanted, own, strict=True))
            return apply(shape.ExpandBackward, self, shape=full)
        except ValueError as error:
            raise ShapeError(f"can't expand {self.shape} to {tuple(wanted)}") from error

    # Reductions -----------------------------------------------------------------------------------
    def sum(self: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the sum over all axes, or over `axis`."""
        axis = _checked_axis(self, axis)
        return apply(reduce.SumBackward, self, axis=axis, keepdims=keepdims)

    def mean(self: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the mean over all axes, or over `axis`."""
        axis = _checked_axis(self, axis)
        _need_elements(self, axis, "mean")
        return apply(reduce.MeanBackward, self, axis=axis, keepdims=keepdims)

    def max(self: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the largest element, or the largest along `axis`; ties share the gradient."""
        axis = _checked_axis(self, axis)
        _need_elements(self, axis, "max")
        return apply(reduce.MaxBackward, self, axis=axis, keepdims=keepdims)

    def min(self: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the smallest element, or the smallest along `axis`; ties share the gradient."""
        axis = _checked_axis(self, axis)
        _need_elements(self, axis, "min")
        return apply(reduce.MinBackward, self, axis=axis, keepdims=keepdims)

    def var(self: Any, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
        """Return the variance; divided by the count less `ddof` (NumPy's 0; PyTorch's is 1)."""
        axis = _checked_axis(self, axis)
        _need_elements(self, axis, "var")
        return apply(reduce.VarBackward, self, axis=axis, keepdims=keepdims, ddof=ddof)

    def std(self: Any, axis: Axis = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
        """Return the standard deviation, the square root of `var`."""
        axis = _checked_axis(self, axis)
        _need_elements(self, axis, "std")
        return apply(reduce.StdBackward, self, axis=axis, keepdims=keepdims, ddof=ddof)

    def argmin(self: Any, axis: int | None = None) -> Tensor:
        """Return the (first) index of the smallest element, as int64."""
        _checked_axis(self, axis)
        _need_elements(self, axis, "argmin")
        return plain(np.asarray(self._data.argmin(axis=axis)))

    def argmax(self: Any, axis: int | None = None) -> Tensor:
        """Return the (first) index of the largest element, as int64."""
        _checked_axis(self, axis)
        _need_elements(self, axis, "argmax")
        return plain(np.asarray(self._data.argmax(axis=axis)))
