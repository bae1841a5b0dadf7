"""max_pool2d: the largest value in each window of images; a NaN counts as the largest.

`kernel_size`, `stride` and `padding` are an int or a (height, width) pair; without a stride,
windows lie side by side. A border is never the largest.
"""

from __future__ import annotations

import math

import numpy as np

from tinytorch.ops.spec import Array, Op, Shape, Shapes, Size, Tolerance
from tinytorch.ops.windows import Pair, pooling


def _output_shape(
    shapes: Shapes, kernel_size: Pair = 2, stride: Pair | None = None, padding: Pair = 0
) -> Shape:
    found = pooling(shapes[0], kernel_size, stride, padding)
    return (*found.images[:2], *found.output)


def _flops(
    shapes: Shapes, kernel_size: Pair = 2, stride: Pair | None = None, padding: Pair = 0
) -> int:
    found = pooling(shapes[0], kernel_size, stride, padding)
    return math.prod((*found.images[:2], *found.output)) * math.prod(found.kernel)


def _reference(
    x: Array, kernel_size: Pair = 2, stride: Pair | None = None, padding: Pair = 0
) -> Array:
    found = pooling(x.shape, kernel_size, stride, padding)
    roomy = found.padded(x, -np.inf)
    result = np.full((*x.shape[:2], *found.output), -np.inf)
    for _, _, pixels in found.places():
        result = np.maximum(result, roomy[pixels])
    return result


def sizes() -> tuple[Size, ...]:
    """Return image shapes of even sides: all of `VARIANTS` make half as many windows of them."""
    shapes = {
        "one": (1, 1, 2, 2),
        "empty-batch": (0, 2, 4, 4),
        "gray": (3, 1, 12, 12),
        "channels": (2, 5, 8, 6),
        "long-rows": (1, 2, 4, 70),
        "many-planes": (7, 9, 6, 4),
        "tall": (1, 2, 40, 2),
        "odd-output": (3, 5, 14, 18),
    }
    return tuple(Size(name, (shape,)) for name, shape in shapes.items())


# Sides that don't halve: the variants make different numbers of windows of them.
ODD = Size("odd", ((3, 5, 7, 9),))
VARIANTS: tuple[dict[str, Pair], ...] = (
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": (4, 2), "stride": 2, "padding": (1, 0)},
)
LADDER = tuple(
    Size("x".join(map(str, shape)), (shape,))
    for shape in ((1, 1, 8, 8), (1, 8, 32, 32), (64, 6, 24, 24), (64, 16, 8, 8), (8, 64, 112, 112))
)


OP = Op(
    name="max_pool2d",
    signature="(N, C, H, W) -> (N, C, oh, ow)",
    reference=_reference,
    output_shape=_output_shape,
    flops=_flops,
    tolerance=Tolerance(
        "the largest of some numbers is one of them: exact",
        lambda reference, *arrays, **params: np.zeros_like(reference),
    ),
    sizes=(*sizes(), ODD),
    ladder=LADDER,
    variants=VARIANTS,
)
