"""avg_pool2d_gradient: each window's gradient, spread evenly over its pixels.

`input_size` (H, W) says which of the images that give as many windows; by default the least.
Windows as in avg_pool2d.
"""

from __future__ import annotations

import math

import numpy as np

from tinytorch.ops import max_pool2d
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Size, Tolerance
from tinytorch.ops.windows import Pair, pooled_from


def _output_shape(
    shapes: Shapes,
    kernel_size: Pair = 2,
    stride: Pair | None = None,
    padding: Pair = 0,
    input_size: tuple[int, int] | None = None,
) -> Shape:
    return pooled_from(shapes[0], kernel_size, stride, padding, input_size).images


def _flops(
    shapes: Shapes,
    kernel_size: Pair = 2,
    stride: Pair | None = None,
    padding: Pair = 0,
    input_size: tuple[int, int] | None = None,
) -> int:
    found = pooled_from(shapes[0], kernel_size, stride, padding, input_size)
    return math.prod(shapes[0]) * (math.prod(found.kernel) + 1)


def _reference(
    dy: Array,
    kernel_size: Pair = 2,
    stride: Pair | None = None,
    padding: Pair = 0,
    input_size: tuple[int, int] | None = None,
) -> Array:
    found = pooled_from(dy.shape, kernel_size, stride, padding, input_size)
    roomy = found.padded(np.zeros(found.images))
    for _, _, pixels in found.places():
        roomy[pixels] += dy / math.prod(found.kernel)
    return np.ascontiguousarray(found.cropped(roomy))


def _bound(
    reference: Array,
    dy: Array,
    kernel_size: Pair = 2,
    stride: Pair | None = None,
    padding: Pair = 0,
    input_size: tuple[int, int] | None = None,
) -> Array:
    found = pooled_from(dy.shape, kernel_size, stride, padding, input_size)
    magnitude = _reference(np.abs(dy), kernel_size, stride, padding, input_size)
    return np.asarray((2.0 * math.sqrt(math.prod(found.kernel)) + 2.0) * magnitude)


def _of(size: Size) -> Size:
    return Size(size.name, (max_pool2d.OP.output_shape(size.shapes),))


OP = Op(
    name="avg_pool2d_gradient",
    signature="(N, C, oh, ow) -> (N, C, H, W)",
    reference=_reference,
    output_shape=_output_shape,
    flops=_flops,
    tolerance=Tolerance(
        "each gradient is divided (two roundings), and a pixel adds up at most K = kh kw of them: "
        "(2 sqrt(K) + 2) eps sum |dY| / K",
        _bound,
    ),
    sizes=tuple(map(_of, max_pool2d.sizes())),
    ladder=tuple(map(_of, max_pool2d.LADDER)),
    variants=max_pool2d.VARIANTS,
)
