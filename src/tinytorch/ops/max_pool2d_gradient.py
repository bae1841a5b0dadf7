"""max_pool2d_gradient: each window's gradient goes to its largest pixel, the first of equals.

dX = sum over windows of dY[window] at the first (in rows) largest pixel of X in the window; a NaN
counts as the largest. Windows as in max_pool2d.
"""

from __future__ import annotations

import math

import numpy as np

from tinytorch.errors import ShapeError
from tinytorch.ops import max_pool2d
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Size, Tolerance
from tinytorch.ops.windows import Pair, pooling


def _output_shape(
    shapes: Shapes, kernel_size: Pair = 2, stride: Pair | None = None, padding: Pair = 0
) -> Shape:
    x, dy = shapes
    found = pooling(x, kernel_size, stride, padding)
    if tuple(dy) != (*found.images[:2], *found.output):
        raise ShapeError(
            f"images of shape {tuple(x)} have {found.output[0]}x{found.output[1]} windows each, "
            f"and the gradient's shape is {tuple(dy)}"
        )
    return found.images


def _flops(
    shapes: Shapes, kernel_size: Pair = 2, stride: Pair | None = None, padding: Pair = 0
) -> int:
    found = pooling(shapes[0], kernel_size, stride, padding)
    return math.prod(shapes[1]) * (math.prod(found.kernel) + 1)


def _reference(
    x: Array,
    dy: Array,
    kernel_size: Pair = 2,
    stride: Pair | None = None,
    padding: Pair = 0,
) -> Array:
    found = pooling(x.shape, kernel_size, stride, padding)
    seen = found.padded(x, -np.inf)
    taps = np.stack([seen[pixels] for _, _, pixels in found.places()])
    # NOTE: the border is never chosen, not even among pixels that are all -inf: it comes after.
    real = found.padded(np.ones_like(x))
    inside = np.stack([real[pixels] for _, _, pixels in found.places()]) > 0
    largest = np.max(taps, axis=0)
    equal = ((taps == largest) | np.isnan(taps)) & inside
    first = np.argmax(equal, axis=0)
    roomy = np.zeros_like(seen)
    for tap, (_, _, pixels) in enumerate(found.places()):
        roomy[pixels] += np.where(first == tap, dy, 0)
    return np.ascontiguousarray(found.cropped(roomy))


def _bound(
    reference: Array,
    x: Array,
    dy: Array,
    kernel_size: Pair = 2,
    stride: Pair | None = None,
    padding: Pair = 0,
) -> Array:
    terms = math.prod(pooling(x.shape, kernel_size, stride, padding).kernel)
    magnitude = _reference(x, np.abs(dy), kernel_size, stride, padding)
    return np.asarray(2.0 * math.sqrt(terms) * magnitude)


def _of(size: Size) -> Size:
    return Size(size.name, (size.shapes[0], max_pool2d.OP.output_shape(size.shapes)))


OP = Op(
    name="max_pool2d_gradient",
    signature="(N, C, H, W), (N, C, oh, ow) -> (N, C, H, W)",
    reference=_reference,
    output_shape=_output_shape,
    flops=_flops,
    tolerance=Tolerance(
        "a pixel gets the gradients of at most K = kh kw windows: a sum of K numbers, "
        "2 sqrt(K) eps sum |dY|",
        _bound,
    ),
    sizes=tuple(map(_of, max_pool2d.sizes())),
    ladder=tuple(map(_of, max_pool2d.LADDER)),
    variants=max_pool2d.VARIANTS,
)
