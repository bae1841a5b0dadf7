"""What stands beside a Tensor in an operation: numbers, lists, arrays and Tensors of any dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinytorch.core import graph
from tinytorch.core.graph import Rule
from tinytorch.core.rules.arithmetic import AstypeBackward
from tinytorch.errors import InvalidValue, ShapeError, TinyTorchError
from tinytorch.ops.spec import Array

if TYPE_CHECKING:
    from tinytorch.core.tensor import Tensor

_F32 = np.dtype(np.float32)


def array_of(value: Any, dtype: Any = None) -> Array:
    """Return the ndarray in a Tensor, or make one of a scalar, list or ndarray.

    float32 whatever it was, unless `dtype` asks for another. Raises InvalidValue for ragged lists
    and anything that is not numbers.
    """
    try:
        array = np.asarray(getattr(value, "_data", value))
        if array.dtype.kind not in "biuf":
            raise TypeError(f"its elements are {array.dtype}")
        return array.astype(dtype or _F32, copy=False)
    except (ValueError, TypeError) as error:
        raise InvalidValue(
            f"a Tensor is made of numbers in a regular shape, got {type(value).__name__}: {error}"
        ) from error


def is_tensor(value: Any) -> bool:
    """Say whether a value is a Tensor."""
    return isinstance(value, graph._tensor())


def plain(array: Array) -> Tensor:
    """Return a Tensor around an ndarray as it is, whatever its dtype."""
    return graph._result(array, None)


def operand(value: Any, beside: Any) -> Tensor:
    """Return the other side of an operation as a Tensor.

    What is not one takes a float Tensor's dtype, and keeps its own beside integers.
    """
    if value.__class__ is beside.__class__ or is_tensor(value):
        return value  # type: ignore[no-any-return]
    dtype = beside._data.dtype
    if value.__class__ is float or value.__class__ is int:
        if dtype.kind == "f":
            return graph._result(np.array(value, dtype), None)
        return graph._result(np.asarray(value), None)
    if dtype.kind == "f":
        return graph._result(array_of(value, dtype), None)
    return graph._result(array_of(value, np.asarray(value).dtype), None)


def binary(rule: type[Rule], a: Tensor, other: Any) -> Tensor:
    """Run a rule of two operands that broadcast; dtypes meet as NumPy's do.

    `other` is a Tensor or what `operand` takes. A number beside floats is no Tensor on the way: to
    make one costs as much as the arithmetic of a small array.
    """
    x, kind = a._data, other.__class__
    if (kind is float or kind is int) and x.dtype.kind == "f":
        return graph.apply_two(rule, a, None, np.array(other, x.dtype))
    b = other if kind is a.__class__ else operand(other, a)
    y = b._data
    if x.dtype is not y.dtype and (a.requires_grad or b.requires_grad):
        common = np.result_type(x, y)
        a, b = cast(a, common), cast(b, common)
        y = b._data
    try:
        return graph.apply_two(rule, a, b, y)
    except ValueError as error:
        if isinstance(error, TinyTorchError):
            raise
        raise ShapeError(f"shapes {a.shape} and {b.shape} do not broadcast") from error


def cast(x: Tensor, dtype: Any) -> Tensor:
    """Return x in another dtype, recorded where both are floats."""
    wanted = np.dtype(dtype)
    if x._data.dtype == wanted:
        return x
    if wanted.kind == "f":
        return graph.apply(AstypeBackward, x, dtype=wanted)
    return plain(x._data.astype(wanted))


def compared(ufunc: np.ufunc, a: Any, other: Any) -> Tensor:
    """Return a comparison, which has no gradient."""
    b = operand(other, a)
    try:
        return plain(np.asarray(ufunc(a._data, b._data)))
    except ValueError as error:
        raise ShapeError(f"shapes {a.shape} and {b.shape} do not broadcast") from error


def index_of(index: Any) -> Any:
    """Return an index as NumPy takes it; Tensors of float32 whole numbers are indices too."""
    return tuple(map(_part, index)) if isinstance(index, tuple) else _part(index)


def _part(part: Any) -> Any:
    if not is_tensor(part):
        return part
    return part._data.astype(np.int64) if part._data.dtype.kind == "f" else part._data
