"""What ops on rows share: an op of x (..., C) works along its last axis, each row by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch.errors import ShapeError
from tinytorch.ops.spec import Array, Shape, Shapes, Size

SHAPES: dict[str, Shape] = {
    "one": (1, 1),
    "vector": (9,),
    "empty": (0, 5),
    "empty-row": (5, 0),
    "square": (64, 64),
    "tall": (1031, 3),
    "wide": (3, 10007),
    "odd": (33, 65),
    "4d": (2, 3, 5, 7),
    "threads": (47, 1031),
}
LADDER: dict[str, Shape] = {
    "64x64": (64, 64),
    "256x256": (256, 256),
    "1024x1024": (1024, 1024),
    "4096x1024": (4096, 1024),
}


def row_sizes(arrays: int = 1, vectors: int = 0, shapes: dict[str, Shape] = SHAPES) -> Any:
    """Return the suite of an op that takes arrays of one shape (..., C), then vectors (C,)."""
    return tuple(
        Size(name, (shape,) * arrays + (shape[-1:],) * vectors) for name, shape in shapes.items()
    )


def row_shape(name: str, shapes: Shapes, arrays: int = 1) -> Shape:
    """Return the shape that arrays of rows have together, their vectors being as long as a row.

    Raises ShapeError that names what differs.
    """
    x = shapes[0]
    if not x:
        raise ShapeError(f"{name} needs at least one axis, got a scalar: use x.reshape(1)")
    for other in shapes[1:arrays]:
        if other != x:
            raise ShapeError(f"{name} takes arrays of one shape, got {x} and {other}")
    for vector in shapes[arrays:]:
        if vector != x[-1:]:
            raise ShapeError(
                f"{name} takes a vector as long as a row: x is {x}, so ({x[-1]},), got {vector}"
            )
    return x


def flops_per_element(count: int) -> Callable[..., int]:
    """Return an op's FLOP count: `count` for each element of its first input."""

    def flops(shapes: Shapes, **params: Any) -> int:
        return count * math.prod(shapes[0])

    return flops


def mean(x: Array) -> Array:
    """Return the rows' means, kept as an axis of size one; those of empty rows are zero."""
    return np.asarray(x.sum(axis=-1, keepdims=True) / max(1, x.shape[-1]))


def root_of_terms(x: Array) -> float:
    """Return the square root of a row's length: what the rounding errors of a sum grow with."""
    return math.sqrt(max(1, x.shape[-1]))


def logits(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Draw logits some units apart. Wider ones would lose terms below the sum's last place, an
    error that grows with C and not with its root."""
    return np.asarray(3.0 * rng.standard_normal(shape)).astype(dtype)
