"""The operators of a Tensor: what Python's signs mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinytorch.core.graph import apply
from tinytorch.core.operands import binary, compared, operand
from tinytorch.core.rules import arithmetic as rules

if TYPE_CHECKING:
    from tinytorch.core.tensor import Tensor


class Arithmetic:
    """Arithmetic and comparisons with Tensors, arrays, lists and numbers, broadcast as in NumPy."""

    __slots__ = ()

    # NOTE: comparisons are elementwise, so a Tensor can't be found by equality in a set.
    __hash__ = object.__hash__

    def __add__(self: Any, other: Any) -> Tensor:
        return binary(rules.AddBackward, self, other)

    def __radd__(self: Any, other: Any) -> Tensor:
        return binary(rules.AddBackward, operand(other, self), self)

    def __mul__(self: Any, other: Any) -> Tensor:
        return binary(rules.MulBackward, self, other)

    def __rmul__(self: Any, other: Any) -> Tensor:
        return binary(rules.MulBackward, operand(other, self), self)

    def __sub__(self: Any, other: Any) -> Tensor:
        return binary(rules.SubBackward, self, other)

    def __rsub__(self: Any, other: Any) -> Tensor:
        return binary(rules.SubBackward, operand(other, self), self)

    def __truediv__(self: Any, other: Any) -> Tensor:
        return binary(rules.DivBackward, self, other)

    def __rtruediv__(self: Any, other: Any) -> Tensor:
        return binary(rules.DivBackward, operand(other, self), self)

    def __pow__(self: Any, other: Any) -> Tensor:
        return binary(rules.PowBackward, self, other)

    def __rpow__(self: Any, other: Any) -> Tensor:
        return binary(rules.PowBackward, operand(other, self), self)

    def __neg__(self: Any) -> Tensor:
        return apply(rules.NegBackward, self)

    def __matmul__(self: Any, other: Any) -> Tensor:
        return binary(rules.MatmulBackward, self, other)

    def __rmatmul__(self: Any, other: Any) -> Tensor:
        return binary(rules.MatmulBackward, operand(other, self), self)

    def __eq__(self, other: object) -> Any:
        return NotImplemented if other is None else compared(np.equal, self, other)

    def __ne__(self, other: object) -> Any:
        return NotImplemented if other is None else compared(np.not_equal, self, other)

    def __lt__(self, other: Any) -> Tensor:
        return compared(np.less, self, other)

    def __le__(self, other: Any) -> Tensor:
        return compared(np.less_equal, self, other)

    def __gt__(self, other: Any) -> Tensor:
        return compared(np.greater, self, other)

    def __ge__(self, other: Any) -> Tensor:
        return compared(np.greater_equal, self, other)
