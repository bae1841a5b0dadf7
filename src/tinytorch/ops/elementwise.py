"""What elementwise ops share: broadcast shapes, sizes, and a tolerance in roundings."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch.errors import ShapeError
from tinytorch.ops.spec import Array, Shape, Shapes, Size, Tolerance

# NaN, infinities, signed zeros, subnormals of float32, and values at which functions saturate.
SPECIALS = (
    *(math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-40, -1e-40, 1e-30),
    *(1.0, -1.0, 80.0, -80.0, 1e10, -1e10),
)


def unary_sizes() -> tuple[Size, ...]:
    """The suite of a one-input elementwise op."""
    shapes: dict[str, Shape] = {
        "one": (1,),
        "scalar": (),
        "tiny": (7,),
        "empty": (0,),
        "empty-2d": (3, 0),
        "square": (64, 64),
        "tall": (1031, 3),
        "wide": (3, 1031),
        "odd": (33, 65),
        "prime": (10007,),
        "4d": (2, 3, 5, 7),
    }
    return tuple(Size(name, (shape,)) for name, shape in shapes.items())


def binary_sizes() -> tuple[Size, ...]:
    """The suite of a two-input elementwise op: equal shapes, then broadcast ones."""
    equal = tuple(Size(size.name, size.shapes * 2) for size in unary_sizes())
    return (
        *equal,
        Size("broadcast-row", ((33, 65), (65,))),
        Size("broadcast-column", ((33, 1), (33, 65))),
        Size("broadcast-scalar", ((33, 65), ())),
        Size("broadcast-outer", ((1, 65), (33, 1))),
    )


def ladder_sizes(inputs: int) -> tuple[Size, ...]:
    """Growing 1-D sizes, from a cache line's neighbours to far beyond the last-level cache."""
    counts = {"1K": 1 << 10, "16K": 1 << 14, "256K": 1 << 18, "1M": 1 << 20, "4M": 1 << 22}
    return tuple(Size(name, ((n,),) * inputs) for name, n in counts.items())


def unary_shape(shapes: Shapes) -> Shape:
    """The output of a one-input op has its input's shape."""
    return shapes[0]


def binary_shape(shapes: Shapes) -> Shape:
    """The output of a two-input op has the broadcast shape; raises ShapeError if there is none."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError as error:
        raise ShapeError(
            f"shapes {shapes[0]} and {shapes[1]} do not broadcast: sizes must be equal or 1, "
            "counted from the last axis"
        ) from error


def flops_per_element(count: int, shape: Callable[..., Shape] = unary_shape) -> Callable[..., int]:
    """Return an op's FLOP count: `count` for each element of the output."""

    def flops(shapes: Shapes, **params: Any) -> int:
        return count * math.prod(shape(shapes))

    return flops


def roundings(count: float, why: str) -> Tolerance:
    """A result that is rounded `count` times errs by at most count/2 eps of itself."""

    def bound(reference: Array, *inputs: Array, **params: Any) -> Array:
        return np.asarray(0.5 * count * np.abs(reference))

    return Tolerance(why, bound)
