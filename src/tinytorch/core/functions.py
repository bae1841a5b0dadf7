"""Functions of several Tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinytorch.core import graph
from tinytorch.core.operands import array_of, cast, is_tensor, operand, plain
from tinytorch.core.rules.shape import ConcatBackward, StackBackward, WhereBackward
from tinytorch.errors import ShapeError, TinyTorchError

if TYPE_CHECKING:
    from tinytorch.core.tensor import Tensor


def _parts(tensors: Any, what: str) -> list[Tensor]:
    parts = [t if is_tensor(t) else plain(array_of(t)) for t in tensors]
    if not parts:
        raise ShapeError(f"{what} needs at least one Tensor, got none")
    common = np.result_type(*[t._data for t in parts])
    return [cast(t, common) for t in parts]


def concat(tensors: Sequence[Any], axis: int = 0, dim: int | None = None) -> Tensor:
    """Return Tensors one after the other along an axis; `dim` is another name of `axis`.

    Raises ShapeError unless all other axes agree.
    """
    parts = _parts(tensors, "concat")
    try:
        return graph.apply(ConcatBackward, *parts, axis=axis if dim is None else dim)
    except (ValueError, IndexError) as error:
        shapes = ", ".join(str(t.shape) for t in parts)
        raise ShapeError(f"can't concatenate shapes {shapes} along axis {axis}: {error}") from error


cat = concat


def stack(tensors: Sequence[Any], axis: int = 0, dim: int | None = None) -> Tensor:
    """Return Tensors of one shape along a new axis; `dim` is another name of `axis`."""
    parts = _parts(tensors, "stack")
    try:
        return graph.apply(StackBackward, *parts, axis=axis if dim is None else dim)
    except (ValueError, IndexError) as error:
        shapes = ", ".join(str(t.shape) for t in parts)
        raise ShapeError(f"can't stack shapes {shapes} along axis {axis}: {error}") from error


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """Return a where the condition holds, else b; all three broadcast."""
    held = np.asarray(condition._data if is_tensor(condition) else condition).astype(
        bool, copy=False
    )
    beside = a if is_tensor(a) else b if is_tensor(b) else plain(array_of(a))
    first, second = operand(a, beside), operand(b, beside)
    common = np.result_type(first._data, second._data)
    try:
        return graph.apply(WhereBackward, cast(first, common), cast(second, common), condition=held)
    except ValueError as error:
        if isinstance(error, TinyTorchError):
            raise
        shapes = f"{held.shape}, {first.shape} and {second.shape}"
        raise ShapeError(f"where: shapes {shapes} do not broadcast") from error
