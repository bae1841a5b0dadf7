"""dot: the sum of x * y over all elements of two arrays of one shape."""

from __future__ import annotations

import math

import numpy as np

from tinytorch.errors import ShapeError
from tinytorch.ops.elementwise import ladder_sizes, unary_sizes
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Size, Tolerance


def equal_shapes(shapes: Shapes) -> Shape:
    """A reduction over two arrays gives a scalar; raises ShapeError where the shapes differ."""
    if shapes[0] != shapes[1]:
        raise ShapeError(
            f"both arrays must have one shape, got {shapes[0]} and {shapes[1]}: reshape one"
        )
    return ()


def paired_sizes() -> tuple[Size, ...]:
    """The elementwise suite, with both inputs of one shape, and one size of several blocks."""
    equal = tuple(Size(size.name, size.shapes * 2) for size in unary_sizes())
    return (*equal, Size("blocks", ((70_001,),) * 2))


def _reference(x: Array, y: Array) -> Array:
    return np.asarray(np.sum(x * y))


def _bound(reference: Array, x: Array, y: Array) -> Array:
    return np.asarray(2 * math.sqrt(max(1, x.size)) * np.sum(np.abs(x * y)))


def _flops(shapes: Shapes) -> int:
    return 2 * math.prod(shapes[0])


OP = Op(
    name="dot",
    signature="(...), (...) -> ()",
    reference=_reference,
    output_shape=equal_shapes,
    flops=_flops,
    tolerance=Tolerance("as matmul's: 2 sqrt(n) eps |x|.|y| over n terms", _bound),
    sizes=paired_sizes(),
    ladder=ladder_sizes(2),
)
