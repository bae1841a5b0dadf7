"""where: a where the condition is not 0, else b; all three broadcast, and nothing is rounded."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch.errors import ShapeError
from tinytorch.ops.elementwise import binary_sizes, ladder_sizes
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Size, Tolerance, wide


def _draw_all(rng: np.random.Generator, shapes: Shapes, dtype: np.dtype[Any]) -> tuple[Array, ...]:
    a, b = (wide(rng, shape, dtype) for shape in shapes[:2])
    return a, b, rng.integers(-1, 2, shapes[2])


def _reference(a: Array, b: Array, condition: Array) -> Array:
    return np.where(condition != 0, a, b)


def _output_shape(shapes: Shapes) -> Shape:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError as error:
        a, b, condition = shapes
        raise ShapeError(
            f"where: a {a}, b {b} and the condition {condition} do not broadcast: sizes must be "
            "equal or 1, counted from the last axis"
        ) from error


def _sizes() -> tuple[Size, ...]:
    """Return the suite of pairs, with a condition of the first one's shape, and other mixtures."""
    pairs = tuple(Size(s.name, (*s.shapes, s.shapes[0])) for s in binary_sizes())
    return (
        *pairs,
        Size("number-first", ((), (33, 65), (33, 65))),
        Size("number-second", ((2, 33, 65), (1,), (33, 65))),
        Size("two-numbers", ((), (), (33, 65))),
        Size("one-condition", ((33, 65), (65,), ())),
    )


OP = Op(
    name="where",
    signature="(...), (...), (...) -> (...)",
    reference=_reference,
    output_shape=_output_shape,
    # A choice for each element.
    flops=lambda shapes: math.prod(np.broadcast_shapes(*shapes)),
    draw_all=_draw_all,
    tolerance=Tolerance("a choice rounds nothing", lambda reference, *inputs: 0.0 * reference),
    sizes=_sizes(),
    ladder=ladder_sizes(3),
    indices=(2,),
)
