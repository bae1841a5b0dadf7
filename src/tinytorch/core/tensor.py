"""Tensor: an array whose heavy operations run on the current backend."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch.backends import get_backend
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.spec import Array

Axis = int | tuple[int, ...] | None


def array_of(value: Any, dtype: Any = None) -> Array:
    """Return the ndarray in a Tensor, or make one of a scalar, list or ndarray.

    float32 whatever it was, unless `dtype` asks for another. Raises InvalidValue for ragged lists
    and anything that is not numbers.
    """
    try:
        array = np.asarray(value.data if isinstance(value, Tensor) else value)
        if array.dtype.kind not in "biuf":
            raise TypeError(f"its elements are {array.dtype}")
        return array.astype(dtype or np.float32, copy=False)
    except (ValueError, TypeError) as error:
        raise InvalidValue(
            f"a Tensor is made of numbers in a regular shape, got {type(value).__name__}: {error}"
        ) from error


class Tensor:
    """An n-dimensional array of float32 (unless `dtype` asks for another).

    `data` may be a scalar, list, ndarray or Tensor; an ndarray of the right dtype is not copied.
    Arithmetic broadcasts as in NumPy; `+`, `*`, `@` and the activations run on the current
    backend (`tinytorch.set_backend`). Raises InvalidValue for data that are not numbers.
    """

    __slots__ = ("data",)
    __array_priority__ = 100.0  # ndarray + Tensor is ours to compute
    # NOTE: comparisons are elementwise, so a Tensor can't be found by equality in a set.
    __hash__ = object.__hash__

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None) -> None:
        """Wrap `data`; gradients are not recorded yet, and asking for them is refused."""
        if requires_grad:
            raise InvalidValue("requires_grad=True: this version does not record gradients yet")
        self.data: Array = array_of(data, dtype)

    # What it is -------------------------------------------------------------------------------
    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        return self.data.shape

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.data.size

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's type of the elements."""
        return self.data.dtype

    @property
    def T(self) -> Tensor:  # noqa: N802
        """The transpose of the last two axes, as a view."""
        return self.transpose()

    def __len__(self) -> int:
        if not self.shape:
            raise InvalidValue("a Tensor without axes has no length: use .item()")
        return self.shape[0]

    def __bool__(self) -> bool:
        if self.size != 1:
            raise InvalidValue(
                f"a Tensor of shape {self.shape} is neither true nor false: compare one element, "
                "or use .numpy().all() or .any()"
            )
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.data, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        shown = np.array2string(self.data, separator=", ", threshold=50, prefix="Tensor(")
        return f"Tensor({shown}, shape={self.shape}, dtype={self.dtype})"

    def numpy(self) -> Array:
        """Return the ndarray itself, not a copy."""
        return self.data

    def item(self) -> float:
        """Return the only element as a Python number; raises ShapeError where there are more."""
        if self.size != 1:
            raise ShapeError(f"item() needs exactly one element, got shape {self.shape}")
        return self.data.item()  # type: ignore[no-any-return]

    def tolist(self) -> Any:
        """Return nested lists of Python numbers."""
        return self.data.tolist()

    def astype(self, dtype: Any) -> Tensor:
        """Return a Tensor of another dtype."""
        return _wrap(self.data.astype(dtype))

    def memory_footprint(self) -> int:
        """Return the bytes that the elements take."""
        return self.data.nbytes

    # Arithmetic -------------------------------------------------------------------------------
    def __add__(self, other: Any) -> Tensor:
        return _dispatch("add", self, other)

    def __radd__(self, other: Any) -> Tensor:
        return _dispatch("add", other, self)

    def __mul__(self, other: Any) -> Tensor:
        return _dispatch("multiply", self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return _dispatch("multiply", other, self)

    def __sub__(self, other: Any) -> Tensor:
        return _elementwise(np.subtract, self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return _elementwise(np.subtract, other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return _elementwise(np.divide, self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return _elementwise(np.divide, other, self)

    def __pow__(self, other: Any) -> Tensor:
        return _elementwise(np.power, self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return _elementwise(np.power, other, self)

    def __neg__(self) -> Tensor:
        return _wrap(-self.data)

    def __matmul__(self, other: Any) -> Tensor:
        return self.matmul(other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return _wrap(_operand(other, self)).matmul(self)

    def matmul(self, other: Any) -> Tensor:
        """Return the product over the last two axes, batch axes broadcast; vectors as in NumPy.

        Raises ShapeError with both shapes and the inner dimensions where they differ.
        """
        a, b = self.data, _operand(other, self)
        if a.ndim == 0 or b.ndim == 0:
            raise ShapeError(f"matmul needs axes, got shapes {a.shape} and {b.shape}: use *")
        wide_a = a[None, :] if a.ndim == 1 else a
        wide_b = b[:, None] if b.ndim == 1 else b
        product = get_backend().dispatch("matmul", wide_a, wide_b)
        if b.ndim == 1:
            product = product[..., 0]
        if a.ndim == 1:
            product = product[..., 0] if b.ndim == 1 else product[..., 0, :]
        return _wrap(np.asarray(product))

    def __eq__(self, other: object) -> Any:
        return NotImplemented if other is None else _elementwise(np.equal, self, other)

    def __ne__(self, other: object) -> Any:
        return NotImplemented if other is None else _elementwise(np.not_equal, self, other)

    def __lt__(self, other: Any) -> Tensor:
        return _elementwise(np.less, self, other)

    def __le__(self, other: Any) -> Tensor:
        return _elementwise(np.less_equal, self, other)

    def __gt__(self, other: Any) -> Tensor:
        return _elementwise(np.greater, self, other)

    def __ge__(self, other: Any) -> Tensor:
        return _elementwise(np.greater_equal, self, other)

    # Shape ------------------------------------------------------------------------------------
    def __getitem__(self, index: Any) -> Tensor:
        plain = tuple(map(_index, index)) if isinstance(index, tuple) else _index(index)
        return _wrap(np.asarray(self.data[plain]))

    def reshape(self, *shape: int | tuple[int, ...]) -> Tensor:
        """Return the same elements in another shape; one size may be -1."""
        wanted = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
        try:
            return _wrap(self.data.reshape(wanted))  # type: ignore[arg-type]
        except ValueError as error:
            raise ShapeError(f"can't reshape {self.shape} to {tuple(wanted)}: {error}") from error

    def transpose(self, dim0: int | None = None, dim1: int | None = None) -> Tensor:
        """Return a view with two axes exchanged, by default the last two."""
        if dim0 is None and dim1 is None:
            if self.ndim < 2:
                return self
            dim0, dim1 = -2, -1
        if dim0 is None or dim1 is None:
            raise InvalidValue("transpose takes no axes or two, got one")
        return _wrap(np.swapaxes(self.data, dim0, dim1))

    # Reductions and activations ---------------------------------------------------------------
    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the sum over all axes, or over `axis`."""
        return _wrap(np.asarray(self.data.sum(axis=axis, keepdims=keepdims)))

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the mean over all axes, or over `axis`."""
        return _wrap(np.asarray(self.data.mean(axis=axis, keepdims=keepdims)))

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the largest element, or the largest along `axis`."""
        return _wrap(np.asarray(self.data.max(axis=axis, keepdims=keepdims)))

    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the smallest element, or the smallest along `axis`."""
        return _wrap(np.asarray(self.data.min(axis=axis, keepdims=keepdims)))

    def argmin(self, axis: int | None = None) -> Tensor:
        """Return the (first) index of the smallest element, as int64."""
        return _wrap(np.asarray(self.data.argmin(axis=axis)))

    def argmax(self, axis: int | None = None) -> Tensor:
        """Return the (first) index of the largest element, as int64."""
        return _wrap(np.asarray(self.data.argmax(axis=axis)))

    def relu(self) -> Tensor:
        """Return max(x, 0)."""
        return _dispatch("relu", self)

    def gelu(self, approximate: str = "tanh") -> Tensor:
        """Return GELU, in its tanh form or (`approximate="none"`) exact."""
        return _dispatch("gelu", self, approximate=approximate)

    def softmax(self) -> Tensor:
        """Return softmax along the last axis."""
        return _dispatch("softmax", self)


def _wrap(array: Array) -> Tensor:
    """Return a Tensor around an ndarray as it is, whatever its dtype."""
    tensor = Tensor.__new__(Tensor)
    tensor.data = array
    return tensor


def _index(part: Any) -> Any:
    """Return one part of an index as NumPy takes it; Tensors of numbers are float32 otherwise."""
    if not isinstance(part, Tensor):
        return part
    return part.data.astype(np.int64) if part.dtype.kind == "f" else part.data


def _operand(value: Any, beside: Tensor) -> Array:
    """Return the other side of an operation.

    What is not a Tensor takes a float Tensor's dtype, and keeps its own beside integers.
    """
    if isinstance(value, Tensor):
        return value.data
    if beside.dtype.kind == "f":
        return array_of(value, beside.dtype)
    return array_of(value, np.asarray(value).dtype)


def _operands(values: tuple[Any, ...]) -> list[Array]:
    beside = next(v for v in values if isinstance(v, Tensor))
    return [_operand(v, beside) for v in values]


def _dispatch(op: str, *values: Any, **params: Any) -> Tensor:
    return _wrap(get_backend().dispatch(op, *_operands(values), **params))


def _elementwise(ufunc: np.ufunc, *values: Any) -> Tensor:
    a, b = _operands(values)
    try:
        return _wrap(np.asarray(ufunc(a, b)))
    except ValueError as error:
        raise ShapeError(f"shapes {a.shape} and {b.shape} do not broadcast") from error


def accepts_tensors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function of ndarrays take Tensors: any Tensor in, Tensors out; else as it is.

    Lists and scalars among the positional arguments are left alone.
    """

    @functools.wraps(function)
    def wrapper(*args: Any, **keywords: Any) -> Any:
        seen = any(isinstance(v, Tensor) for v in (*args, *keywords.values()))
        if not seen:
            return function(*args, **keywords)
        plain = [v.data if isinstance(v, Tensor) else v for v in args]
        named = {k: v.data if isinstance(v, Tensor) else v for k, v in keywords.items()}
        return _wrapped(function(*plain, **named))

    return wrapper


def _wrapped(result: Any) -> Any:
    if isinstance(result, dict):
        return {key: _wrapped(value) for key, value in result.items()}
    return _wrap(np.asarray(result)) if isinstance(result, np.ndarray | np.generic) else result
