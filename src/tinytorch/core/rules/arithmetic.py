"""Rules of arithmetic: operands broadcast, and gradients are summed back."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.core import compute
from tinytorch.core.compute import unbroadcast
from tinytorch.core.graph import Rule
from tinytorch.errors import ShapeError
from tinytorch.ops.spec import Array


class AddBackward(Rule):
    """a + b."""

    __slots__ = ()

    def forward(self, a: Array, b: Array) -> Array:
        """Compute on the backend."""
        self.saved = a.shape, b.shape
        return compute.add(a, b)

    def backward(self, grad: Array) -> Any:
        """The gradient goes to both."""
        a, b = self.saved
        return unbroadcast(grad, a), unbroadcast(grad, b)


class SubBackward(Rule):
    """a - b."""

    __slots__ = ()

    def forward(self, a: Array, b: Array) -> Array:
        """Compute with NumPy."""
        self.saved = a.shape, b.shape
        return np.subtract(a, b)

    def backward(self, grad: Array) -> Any:
        """The gradient goes to a, and negated to b."""
        a, b = self.saved
        for_b = -unbroadcast(grad, b) if self.edges[1] is not None else None
        return unbroadcast(grad, a), for_b


class MulBackward(Rule):
    """a * b."""

    __slots__ = ()
    fresh = True

    def forward(self, a: Array, b: Array) -> Array:
        """Compute on the backend."""
        edges = self.edges
        self.saved = (
            b if edges[0] is not None else None,
            a if edges[1] is not None else None,
            a.shape,
            b.shape,
        )
        return compute.multiply(a, b)

    def backward(self, grad: Array) -> Any:
        """Each side's gradient is scaled by the other side."""
        b, a, a_shape, b_shape = self.saved
        return (
            None if b is None else unbroadcast(compute.multiply(grad, b), a_shape),
            None if a is None else unbroadcast(compute.multiply(grad, a), b_shape),
        )


class DivBackward(Rule):
    """a / b."""

    __slots__ = ()
    fresh = True

    def forward(self, a: Array, b: Array) -> Array:
        """Compute with NumPy."""
        quotient = np.divide(a, b)
        kept = quotient if self.edges[1] is not None else None
        self.saved = b, kept, a.shape
        return quotient

    def backward(self, grad: Array) -> Any:
        """d(a/b) = da / b - (a/b) db / b."""
        b, quotient, a_shape = self.saved
        scaled = grad / b
        for_b = None if quotient is None else unbroadcast(-scaled * quotient, b.shape)
        return unbroadcast(scaled, a_shape), for_b


class PowBackward(Rule):
    """a ** b."""

    __slots__ = ()
    fresh = True

    def forward(self, a: Array, b: Array) -> Array:
        """Compute with NumPy; a cube as two products, ten times as fast as a call of pow."""
        if b.ndim == 0 and b == 3 and a.dtype.kind == "f":
            power = np.asarray(a * a * a)
        else:
            power = np.asarray(np.power(a, b))
        self.saved = a, b, power if self.edges[1] is not None else None
        return power

    def backward(self, grad: Array) -> Any:
        """d(a^b) = b a^(b-1) da + a^b log(a) db; a constant (b = 0) has no slope, nor has 0^b."""
        a, b, power = self.saved
        for_a = for_b = None
        if self.edges[0] is not None:
            slope = b * np.power(a, b - 1) if b.ndim or b != 2 else b * a
            for_a = unbroadcast(grad * np.where(b == 0, a.dtype.type(0), slope), a.shape)
        if power is not None:
            logs = np.where(a == 0, a.dtype.type(0), np.log(a))
            for_b = unbroadcast(grad * power * logs, b.shape)
        return for_a, for_b


class NegBackward(Rule):
    """-a."""

    __slots__ = ()
    fresh = True

    def forward(self, a: Array) -> Array:
        """Compute with NumPy."""
        self.saved = ()
        return np.negative(a)

    def backward(self, grad: Array) -> Any:
        """The gradient, negated."""
        return np.negative(grad)


class MatmulBackward(Rule):
    """a @ b."""

    __slots__ = ()
    fresh = True

    def forward(self, a: Array, b: Array) -> Array:
        """Compute on the backend; vectors as in NumPy."""
        self.saved = a, b
        if a.ndim > 1 and b.ndim > 1:
            return compute.matmul(a, b)
        if a.ndim == 0 or b.ndim == 0:
            raise ShapeError(f"matmul needs axes, got shapes {a.shape} and {b.shape}: use *")
        product = compute.matmul(a[None, :] if a.ndim == 1 else a, b[:, None] if b.ndim == 1 else b)
        if b.ndim == 1:
            product = product[..., 0]
        if a.ndim == 1:
            product = product[..., 0] if b.ndim == 1 else product[..., 0, :]
        return np.asarray(product)

    def backward(self, grad: Array) -> Any:
        """Two products, on the backend."""
        a, b = self.saved
        needed = self.edges[0] is not None, self.edges[1] is not None
        return compute.matmul_gradients(a, b, grad, needed)


class AstypeBackward(Rule):
    """Another float dtype."""

    __slots__ = ()

    def forward(self, a: Array, dtype: Any) -> Array:
        """Convert."""
        self.saved = (a.dtype,)
        return a.astype(dtype)

    def backward(self, grad: Array) -> Any:
        """The gradient, converted back."""
        return grad.astype(self.saved[0])


class MaximumBackward(Rule):
    """max(a, b), elementwise; ties share the gradient."""

    __slots__ = ()
    fresh = True
    largest = True

    def forward(self, a: Array, b: Array) -> Array:
        """Compute with NumPy."""
        self.saved = a, b
        return np.maximum(a, b) if self.largest else np.minimum(a, b)

    def backward(self, grad: Array) -> Any:
        """The gradient goes where the result came from."""
        a, b = self.saved
        wins = np.greater(a, b) if self.largest else np.less(a, b)
        share = (wins + 0.5 * (a == b)).astype(grad.dtype)
        return unbroadcast(grad * share, a.shape), unbroadcast(grad * (1 - share), b.shape)


class MinimumBackward(MaximumBackward):
    """min(a, b), elementwise; ties share the gradient."""

    __slots__ = ()
    largest = False
