"""The graph: what a forward operation leaves behind, and how gradients flow back through it.

Every operation is a `Function`: its forward computes and keeps what its backward needs. A node
knows the nodes it came from (`edges`), never the Tensors between, so that an intermediate result
lives no longer than somebody needs it. Nodes are numbered as they are made; to take the largest
number first is a topological order, without recursion and without a first walk over the graph.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import heapq
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tinytorch.core import writes
from tinytorch.errors import GraphError, InvalidValue, ShapeError
from tinytorch.native import heap
from tinytorch.ops.spec import Array

if TYPE_CHECKING:
    from tinytorch.core.tensor import Tensor

_recording: contextvars.ContextVar[bool] = contextvars.ContextVar("tinytorch_grad", default=True)


class _Mode(contextlib.ContextDecorator):
    """Records, or not, inside the block; as a decorator, during each call."""

    wanted: ClassVar[bool]

    def __init__(self) -> None:
        self._tokens: list[contextvars.Token[bool]] = []

    def __enter__(self) -> None:
        self._tokens.append(_recording.set(self.wanted))

    def __exit__(self, *exception: object) -> None:
        _recording.reset(self._tokens.pop())


class no_grad(_Mode):  # noqa: N801  (PyTorch's name)
    """Record no operations inside the block (this thread's), or in the decorated function."""

    wanted = False


class enable_grad(_Mode):  # noqa: N801
    """Record operations again, inside a `no_grad` block."""

    wanted = True


def is_grad_enabled() -> bool:
    """Say whether operations are recorded here."""
    return _recording.get()


class Function:
    """A differentiable operation. Subclass it to make your own, and call it by `apply`.

    `forward(self, *tensors, **params)` takes Tensors and returns a Tensor or an ndarray; what its
    backward needs may be kept on `self`, or by `save_for_backward`. `backward(self, grad)` takes
    the gradient of the result, an ndarray, and returns one gradient for each Tensor (a tuple where
    there are several; None where there is none). Static methods that take a context first, as
    PyTorch's do, work as well.
    """

    __slots__ = ("edges", "saved", "ticket")

    # Whether each gradient that backward returns is a new array that nobody else holds.
    fresh: ClassVar[bool] = False

    edges: Any
    saved: tuple[Any, ...]
    ticket: int

    def forward(self, *inputs: Any, **params: Any) -> Any:
        """Compute the result."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def backward(self, grad: Array) -> Any:
        """Return the gradient of each input, from the gradient of the result."""
        raise NotImplementedError(f"{type(self).__name__} must define backward")

    @classmethod
    def apply(cls, *tensors: Any, **params: Any) -> Any:
        """Compute, and record the operation if an input requires gradients."""
        inputs = [_as_tensor(t) for t in tensors]
        node = cls()
        node.saved = ()
        recorded = connect(node, inputs)
        plain = [t.detach() for t in inputs]
        with no_grad():
            if isinstance(inspect.getattr_static(cls, "forward"), staticmethod):
                result = cls.forward(node, *plain, **params)
            else:
                result = node.forward(*plain, **params)
        if recorded and isinstance(inspect.getattr_static(cls, "backward"), staticmethod):
            node = _with_context(node)
        data = np.asarray(result.data if isinstance(result, _tensor()) else result)
        return _result(data, node if recorded else None)

    def save_for_backward(self, *values: Any) -> None:
        """Keep values until backward, where `saved_tensors` returns them."""
        self.saved = values

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What `save_for_backward` kept."""
        return self.saved


class _with_context(Function):  # noqa: N801
    """A node of a Function in PyTorch's form: calls its static backward with itself."""

    __slots__ = ("inner",)

    def __init__(self, inner: Function) -> None:
        self.inner, self.saved = inner, inner.saved
        self.edges, self.ticket = inner.edges, inner.ticket

    def backward(self, grad: Array) -> Any:
        """Return what the user's own backward returns."""
        return type(self.inner).backward(self.inner, grad)


class Rule(Function):
    """One of our own operations: its forward takes ndarrays and must set `saved`."""

    __slots__ = ()

    @classmethod
    def apply(cls, *tensors: Any, **params: Any) -> Any:
        """Compute, and record the operation if an input requires gradients."""
        return apply(cls, *[_as_tensor(t) for t in tensors], **params)


@functools.cache
def _tensor() -> type[Tensor]:
    from tinytorch.core.tensor import Tensor  # it stands on this module

    return Tensor


_new = object.__new__
_ticket = writes.ticket
_NO_EDGES = (None,) * 16


def _as_tensor(value: Any) -> Tensor:
    kind = _tensor()
    return value if isinstance(value, kind) else kind(value)


def connect(node: Function, tensors: Any) -> bool:
    """Set a new node's edges, and say whether it is to be recorded."""
    if _recording.get():
        for tensor in tensors:
            if tensor.requires_grad:
                node.edges = [(t._grad_fn or t) if t.requires_grad else None for t in tensors]
                node.ticket = _ticket()
                return True
    node.edges = _NO_EDGES
    return False


def _result(data: Array, node: Function | None) -> Tensor:
    result: Tensor = _new(_tensor())
    result._data = data
    result.grad = None
    result._grad_fn = node
    result.requires_grad = node is not None
    return result


def apply(rule: type[Rule], *tensors: Tensor, **params: Any) -> Tensor:
    """Run a rule on Tensors: the way of every operation of ours."""
    node = rule()
    recorded = connect(node, tensors)
    data = node.forward(*[t._data for t in tensors], **params)
    if data.__class__ is not np.ndarray:  # NumPy makes scalars of arrays without axes
        data = np.asarray(data)
    return _result(data, node if recorded else None)


def apply_two(rule: type[Rule], a: Tensor, b: Tensor | None, other: Array) -> Tensor:
    """Do what `apply` does, for a rule of two operands, written out: twice as fast.

    The second one is the array `other`: of the Tensor `b`, or a number's, of which there is none.
    """
    node = rule()
    needs_a = a.requires_grad
    needs_b = b is not None and b.requires_grad
    recorded = (needs_a or needs_b) and _recording.get()
    if recorded:
        node.edges = (
            (a._grad_fn or a) if needs_a else None,
            (b._grad_fn or b) if needs_b else None,  # type: ignore[union-attr]
        )
        node.ticket = _ticket()
    else:
        node.edges = _NO_EDGES
    data = node.forward(a._data, other)
    if data.__class__ is not np.ndarray:
        data = np.asarray(data)
    result: Tensor = _new(_tensor())
    result._data = data
    result.grad = None
    result._grad_fn = node if recorded else None
    result.requires_grad = recorded
    return result


class RetainBackward(Rule):
    """Leaves the gradient that passes by in a Tensor that is no leaf."""

    __slots__ = ("keep",)

    keep: Callable[[Array], None]

    def backward(self, grad: Array) -> Array:
        """Keep a copy, and pass the gradient on."""
        self.keep(np.array(grad))
        return grad


# Backward -----------------------------------------------------------------------------------------
def backward(root: Tensor, gradient: Any, retain: bool) -> None:
    """Add d root / d leaf, times `gradient`, to every leaf's grad."""
    if not root.requires_grad:
        raise GraphError(
            "backward() on a Tensor that does not require gradients: make an input with "
            "requires_grad=True, and compute outside no_grad()"
        )
    heap.keep_pages()
    start = _start(root, gradient)
    if root._grad_fn is None:
        _accumulate(root, start, fresh=False)
        return
    with np.errstate(all="ignore"):
        _run(root._grad_fn, start, retain)


def _start(root: Tensor, gradient: Any) -> Array:
    if gradient is None:
        if root.size != 1:
            raise InvalidValue(
                f"backward() without a gradient is for a scalar, and this Tensor has shape "
                f"{root.shape}: pass a gradient of that shape, or take .sum() or .mean() first"
            )
        return np.ones(root.shape, root.dtype)
    start = np.asarray(gradient.data if isinstance(gradient, _tensor()) else gradient)
    if start.shape != root.shape:
        raise ShapeError(f"a gradient must have the Tensor's shape {root.shape}, got {start.shape}")
    if start.dtype.kind not in "biuf":
        raise InvalidValue(f"a gradient is made of numbers, got {start.dtype}")
    return start.astype(root.dtype, copy=False)


def _sum(held: Array, owned: bool, grad: Array, fresh: bool) -> Array:
    """Return the sum of two gradients, in the memory of one that may be written where there is."""
    if owned:
        return np.add(held, grad, out=held)
    if fresh and grad.dtype == held.dtype:
        return np.add(held, grad, out=grad)
    return np.asarray(held + grad)


def _run(first: Function, gradient: Array, retain: bool) -> None:
    # By ticket: the node, its gradient so far, and whether that may be written into.
    waiting: dict[int, tuple[Any, Array, bool]] = {first.ticket: (first, gradient, False)}
    numbers = [-first.ticket]
    while numbers:
        node, gradient, _ = waiting.pop(-heapq.heappop(numbers))
        edges = node.edges
        if edges is None:
            raise GraphError(
                f"the graph through {type(node).__name__} was released by an earlier backward(): "
                "compute the result again, or pass retain_graph=True to the first one"
            )
        if writes.latest > node.ticket:
            writes.check(node)
        results = node.backward(gradient)
        del gradient
        fresh = node.fresh
        for edge, grad in zip(
            edges, results if results.__class__ is tuple else (results,), strict=False
        ):
            if edge is None or grad is None:
                continue
            if grad.__class__ is not np.ndarray:
                grad = np.asarray(getattr(grad, "_data", grad))
            number = edge.ticket
            if number == 0:
                _accumulate(edge, grad, fresh)
            elif number in waiting:
                _, held, owned = waiting[number]
                waiting[number] = edge, _sum(held, owned, grad, fresh), True
            else:
                waiting[number] = edge, grad, fresh
                heapq.heappush(numbers, -number)
        if not retain:
            node.edges, node.saved = None, ()


def _accumulate(leaf: Tensor, grad: Array, fresh: bool) -> None:
    data = leaf._data
    if grad.shape != data.shape:
        raise ShapeError(f"a gradient of shape {grad.shape} came to a leaf of shape {leaf.shape}")
    if grad.dtype != data.dtype:
        grad, fresh = grad.astype(data.dtype), True
    held: Any = leaf.grad
    if held is None:
        leaf.grad = grad if fresh else np.array(grad, order="C")
        return
    if held.__class__ is np.ndarray and held.flags.writeable and held.dtype == grad.dtype:
        np.add(held, grad, out=held)
    else:
        leaf.grad = np.asarray(held, data.dtype) + grad


def walk(root: Function) -> Iterator[Function]:
    """Yield the nodes below one, newest first (to look at a graph: nothing is changed)."""
    seen = {root.ticket: root}
    numbers = [-root.ticket]
    while numbers:
        node = seen[-heapq.heappop(numbers)]
        yield node
        for edge in node.edges or ():
            if isinstance(edge, Function) and edge.ticket not in seen:
                seen[edge.ticket] = edge
                heapq.heappush(numbers, -edge.ticket)
