"""channel_moments: the mean and the variance of each channel of images, pixels in one row.

x (N, C, L): N images of C channels of L pixels. The variance is the mean square deviation.
"""

from __future__ import annotations

import math

import numpy as np

from tinytorch.errors import ShapeError
from tinytorch.ops.elementwise import flops_per_element
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Size, Tolerance

SHAPES: dict[str, Shape] = {
    "one": (1, 1, 1),
    "tiny": (2, 3, 4),
    "empty-batch": (0, 3, 4),
    "empty-row": (2, 3, 0),
    "no-channels": (2, 0, 4),
    "square": (8, 8, 64),
    "tall": (1031, 3, 2),
    "wide": (2, 3, 10007),
    "odd": (5, 7, 33),
    "one-pixel": (33, 5, 1),
    "threads": (4, 17, 1031),
}
LADDER: dict[str, Shape] = {
    "16x16x196": (16, 16, 196),
    "64x32x196": (64, 32, 196),
    "64x64x784": (64, 64, 784),
    "64x64x3136": (64, 64, 3136),
}


def channels(op: str, x: Shape) -> Shape:
    """Return the shape of a value a channel, (C,); raises ShapeError unless x is (N, C, L)."""
    if len(x) != 3:
        raise ShapeError(f"{op} takes x (N, C, L), images with their pixels in a row, got {x}")
    return x[1:2]


def over_channels(values: Array) -> Array:
    """Return the means over images and pixels, (C, 1); those of nothing are zero."""
    count = max(1, values.shape[0] * values.shape[2])
    return np.asarray(values.sum(axis=(0, 2))[:, None] / count)


def root_of_terms(x: Array) -> float:
    """Return the square root of a channel's size: what the rounding errors of a sum grow with."""
    return math.sqrt(max(1, x.shape[0] * x.shape[2]))


def _reference(x: Array) -> tuple[Array, Array]:
    mean = over_channels(x)
    return mean[:, 0], over_channels((x - mean) ** 2)[:, 0]


def _output_shape(shapes: Shapes) -> tuple[Shape, Shape]:
    shape = channels("channel_moments", shapes[0])
    return shape, shape


def _bound(reference: tuple[Array, Array], x: Array) -> tuple[Array, Array]:
    terms = root_of_terms(x)
    return (1 + 2 * terms) * over_channels(np.abs(x))[:, 0], (3 + 2 * terms) * reference[1]


OP = Op(
    name="channel_moments",
    signature="(N, C, L) -> (C,), (C,)",
    reference=_reference,
    output_shape=_output_shape,
    # The sum; the difference, its square and their sum.
    flops=flops_per_element(4),
    tolerance=Tolerance(
        "sums err as dot's, the mean by 2 sqrt(N L) eps mean|x|; the variance's terms, about a "
        "mean that was rounded, by 3 eps: the mean's own error enters it squared",
        _bound,
    ),
    sizes=tuple(Size(name, (shape,)) for name, shape in SHAPES.items()),
    ladder=tuple(Size(name, (shape,)) for name, shape in LADDER.items()),
    outputs=2,
)
