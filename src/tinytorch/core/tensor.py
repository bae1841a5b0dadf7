"""Tensor: an array whose heavy operations run on the current backend, and which can learn."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

from tinytorch.core import graph, writes
from tinytorch.core.arithmetic import Arithmetic
from tinytorch.core.functions import concat, stack, where
from tinytorch.core.methods import Methods
from tinytorch.core.operands import array_of, index_of, operand
from tinytorch.core.rules.shape import SliceBackward
from tinytorch.errors import GraphError, InvalidValue, ShapeError
from tinytorch.ops.spec import Array

__all__ = ["Tensor", "accepts_tensors", "array_of", "concat", "stack", "where"]


class Tensor(Arithmetic, Methods):
    """An n-dimensional array of float32 (unless `dtype` asks for another).

    `data` may be a scalar, list, ndarray or Tensor; an ndarray of the right dtype is not copied.
    Arithmetic broadcasts as in NumPy; `+`, `*`, `@` and the activations run on the current
    backend (`tinytorch.set_backend`). With `requires_grad`, what is computed from it is recorded,
    and `result.backward()` adds the gradient to `grad`. Raises InvalidValue for data that are not
    numbers, and for gradients of integers.
    """

    __slots__ = ("__weakref__", "_data", "_grad_fn", "grad", "requires_grad")
    __array_priority__ = 100.0  # ndarray + Tensor is ours to compute
    ticket: ClassVar[int] = 0  # a leaf of the graph: older than any node

    _data: Array
    _grad_fn: graph.Function | None
    grad: Array | None
    requires_grad: bool

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None) -> None:
        """Wrap `data`; `requires_grad` makes it a leaf whose `grad` is computed."""
        self._data = array_of(data, dtype)
        if requires_grad and self._data.dtype.kind != "f":
            raise InvalidValue(
                f"gradients need floats, and dtype is {self._data.dtype}: use dtype=np.float32"
            )
        self.requires_grad = bool(requires_grad)
        self.grad = None
        self._grad_fn = None

    # What it is -------------------------------------------------------------------------------
    @property
    def data(self) -> Array:
        """The ndarray itself."""
        return self._data

    @data.setter
    def data(self, value: Any) -> None:
        # NOTE: `x.data += v` writes first and then comes here with the same array.
        if value is self._data:
            writes.mark(self._data)
            return
        array = getattr(value, "_data", value)
        same = array.__class__ is np.ndarray and array.dtype == self._data.dtype
        self._data = array if same else array_of(array, self._data.dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        return self._data.shape

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._data.size

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._data.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's type of the elements."""
        return self._data.dtype

    @property
    def T(self) -> Tensor:  # noqa: N802
        """The transpose of the last two axes, as a view."""
        return self.transpose()

    @property
    def grad_fn(self) -> graph.Function | None:
        """The operation that it came from; None for a leaf."""
        return self._grad_fn

    @property
    def is_leaf(self) -> bool:
        """Whether it was made, not computed: gradients gather in leaves."""
        return self._grad_fn is None

    def __len__(self) -> int:
        if not self.shape:
            raise InvalidValue("a Tensor without axes has no length: use .item()")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        if self.size != 1:
            raise InvalidValue(
                f"a Tensor of shape {self.shape} is neither true nor false: compare one element, "
                "or use .numpy().all() or .any()"
            )
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __abs__(self) -> Tensor:
        return self.abs()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self._data, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        shown = np.array2string(self._data, separator=", ", threshold=50, prefix="Tensor(")
        wanted = ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({shown}, shape={self.shape}, dtype={self.dtype}{wanted})"

    def __reduce__(self) -> Any:
        return _restored, (type(self), self._data, self.requires_grad, self.grad)

    def numpy(self) -> Array:
        """Return the ndarray itself, not a copy."""
        return self._data

    def item(self) -> float:
        """Return the only element as a Python number; raises ShapeError where there are more."""
        if self.size != 1:
            raise ShapeError(f"item() needs exactly one element, got shape {self.shape}")
        return self._data.item()  # type: ignore[no-any-return]

    def tolist(self) -> Any:
        """Return nested lists of Python numbers."""
        return self._data.tolist()

    def numel(self) -> int:
        """Return the number of elements."""
        return self._data.size

    def detach(self) -> Tensor:
        """Return a Tensor around the same memory that is not recorded."""
        return graph._result(self._data, None)

    def clone(self) -> Tensor:
        """Return a copy, through which gradients flow."""
        copied = self.reshape(self.shape)
        copied._data = self._data.copy()
        return copied

    copy = clone

    def memory_footprint(self) -> int:
        """Return the bytes that the elements take."""
        return self._data.nbytes

    # Parts ------------------------------------------------------------------------------------
    def __getitem__(self, index: Any) -> Tensor:
        try:
            return graph.apply(SliceBackward, self, index=index_of(index))
        except IndexError as error:
            # NOTE: IndexError it stays, for iteration and existing programs end on it.
            raise IndexError(f"{error} (a Tensor of shape {self.shape})") from error

    def __setitem__(self, index: Any, value: Any) -> None:
        given = operand(value, self)
        if graph.is_grad_enabled() and (self.requires_grad or given.requires_grad):
            raise GraphError(
                "a write into a Tensor is not recorded, so gradients would be wrong: compute a new "
                "one with where() or masked_fill(), or write inside no_grad()"
            )
        try:
            self._data[index_of(index)] = given._data
        except ValueError as error:
            raise ShapeError(f"can't write {given.shape} into that part of {self.shape}") from error
        writes.mark(self._data)

    # Gradients --------------------------------------------------------------------------------
    def backward(self, gradient: Any = None, retain_graph: bool = False) -> None:
        """Add the gradient of this Tensor to the `grad` of every leaf it was computed from.

        A scalar needs no `gradient`; else it has this Tensor's shape. The graph is released, unless
        `retain_graph`. Raises GraphError (a RuntimeError) for a graph that was released or whose
        arrays were written since, InvalidValue and ShapeError for a gradient that does not fit.
        """
        graph.backward(self, gradient, retain_graph)

    def zero_grad(self) -> None:
        """Forget the gradient."""
        self.grad = None

    def retain_grad(self) -> None:
        """Keep the gradient of a Tensor that is no leaf, too, when backward passes by."""
        if self._grad_fn is None or isinstance(self._grad_fn, graph.RetainBackward):
            return
        node = graph.RetainBackward()
        graph.connect(node, (self,))
        node.edges, node.saved = [self._grad_fn], ()
        node.ticket = writes.ticket()
        held = weakref.ref(self)

        def keep(gradient: Array) -> None:
            tensor = held()
            if tensor is not None:
                tensor.grad = gradient if tensor.grad is None else tensor.grad + gradient

        node.keep = keep
        self._grad_fn = node

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Say whether this leaf's gradient is wanted, and return the Tensor."""
        self.requires_grad = requires_grad
        return self


def _restored(kind: type[Tensor], data: Array, requires_grad: bool, grad: Any) -> Tensor:
    tensor = kind.__new__(kind)
    tensor._data, tensor.requires_grad, tensor.grad, tensor._grad_fn = (
        data,
        requires_grad,
        grad,
        None,
    )
    return tensor


def accepts_tensors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function of ndarrays take Tensors: any Tensor in, Tensors out; else as it is.

    Lists and scalars among the positional arguments are left alone. Nothing is recorded.
    """

    @functools.wraps(function)
    def wrapper(*args: Any, **keywords: Any) -> Any:
        seen = any(isinstance(v, Tensor) for v in (*args, *keywords.values()))
        if not seen:
            return function(*args, **keywords)
        plain = [v._data if isinstance(v, Tensor) else v for v in args]
        named = {k: v._data if isinstance(v, Tensor) else v for k, v in keywords.items()}
        return _wrapped(function(*plain, **named))

    return wrapper


def _wrapped(result: Any) -> Any:
    if isinstance(result, dict):
        return {key: _wrapped(value) for key, value in result.items()}
    if isinstance(result, np.ndarray | np.generic):
        return graph._result(np.asarray(result), None)
    return result
