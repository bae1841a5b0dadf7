"""conv2d_input_gradient: what the loss gains by each pixel of a convolution's images.

dX[n, c, u, v] = sum over o, i, j of W[o, c, i, j] dY[n, o, y, x], over the (y, x) whose patch has
(u, v) at (i, j): u = y s + i - p, v = x s + j - p. The adjoint of conv2d in its images.

With a stride, several heights give the same number of patches: `input_size` (H, W) says which; by
default it is the least. `stride` and `padding` as in conv2d.
"""

from __future__ import annotations

import math

import numpy as np

from tinytorch.errors import ShapeError
from tinytorch.ops import conv2d
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Size, Tolerance
from tinytorch.ops.windows import Geometry, Pair, pair


def geometry(
    dy: Shape,
    w: Shape,
    stride: Pair = 1,
    padding: Pair = 0,
    input_size: tuple[int, int] | None = None,
) -> Geometry:
    """Return the geometry of the convolution of which dy (N, O, oh, ow) is an output's gradient.

    Raises ShapeError or InvalidValue where there is none.
    """
    if len(dy) != 4 or len(w) != 4 or dy[1] != w[0]:
        raise ShapeError(
            f"conv2d_input_gradient takes gradients (N, O, oh, ow) and weights (O, C, kh, kw), got "
            f"{tuple(dy)} and {tuple(w)}"
        )
    step, border = pair(stride, "stride", 1), pair(padding, "padding", 0)
    least = [(dy[2 + i] - 1) * step[i] + w[2 + i] - 2 * border[i] for i in range(2)]
    if input_size is None and min(least) < 1:
        raise ShapeError(
            f"{dy[2]}x{dy[3]} patches of {w[2]}x{w[3]} pixels with padding {border} cover no image"
        )
    size = pair(least if input_size is None else input_size, "input_size", 1)
    found = Geometry.of((dy[0], w[1], *size), w[2:], step, border)
    if found.output != tuple(dy[2:]):
        raise ShapeError(
            f"images of {size[0]}x{size[1]} pixels have {found.output[0]}x{found.output[1]} "
            f"patches, and the gradient's shape is {tuple(dy)}"
        )
    return found


def _output_shape(
    shapes: Shapes,
    stride: Pair = 1,
    padding: Pair = 0,
    input_size: tuple[int, int] | None = None,
) -> Shape:
    dy, w = shapes
    return geometry(dy, w, stride, padding, input_size).images


def _flops(
    shapes: Shapes,
    stride: Pair = 1,
    padding: Pair = 0,
    input_size: tuple[int, int] | None = None,
) -> int:
    _output_shape(shapes, stride, padding, input_size)
    return 2 * math.prod(shapes[0]) * math.prod(shapes[1][1:])


def _reference(
    dy: Array,
    w: Array,
    stride: Pair = 1,
    padding: Pair = 0,
    input_size: tuple[int, int] | None = None,
) -> Array:
    found = geometry(dy.shape, w.shape, stride, padding, input_size)
    roomy = found.padded(np.zeros(found.images, np.result_type(dy, w)))
    for i, j, pixels in found.places():
        roomy[pixels] += np.einsum("oc,nohw->nchw", w[:, :, i, j], dy, optimize=True)
    return np.ascontiguousarray(found.cropped(roomy))


def _bound(
    reference: Array,
    dy: Array,
    w: Array,
    stride: Pair = 1,
    padding: Pair = 0,
    input_size: tuple[int, int] | None = None,
) -> Array:
    terms = max(1, w.shape[0] * w.shape[2] * w.shape[3])
    magnitude = _reference(np.abs(dy), np.abs(w), stride, padding, input_size)
    return np.asarray(2.0 * math.sqrt(terms) * magnitude)


def _layer(name: str, dy: Shape, C: int, kernel: tuple[int, int]) -> Size:
    return Size(name, (dy, (dy[1], C, *kernel)))


def _of(size: Size) -> Size:
    """Return the gradient's size for a forward size with a border of one pixel."""
    x, w, b = size.shapes
    return Size(size.name, (conv2d.OP.output_shape((x, w, b), padding=1), w))


OP = Op(
    name="conv2d_input_gradient",
    signature="(N, O, oh, ow), (O, C, kh, kw) -> (N, C, H, W)",
    reference=_reference,
    output_shape=_output_shape,
    flops=_flops,
    tolerance=Tolerance(
        "a sum of at most K = O kh kw products, as matmul's: 2 sqrt(K) eps |W|*|dY|", _bound
    ),
    sizes=(
        _layer("one", (1, 1, 1, 1), 1, (3, 3)),
        _layer("empty-batch", (0, 3, 5, 5), 2, (3, 3)),
        _layer("no-outputs", (2, 0, 4, 4), 3, (3, 3)),
        _layer("gray", (3, 6, 8, 8), 1, (5, 5)),
        _layer("small-images", (5, 13, 7, 7), 4, (3, 3)),
        _layer("odd", (2, 8, 7, 9), 5, (3, 4)),
        _layer("deep", (1, 61, 4, 5), 7, (3, 3)),
        _layer("pointwise", (2, 7, 5, 6), 6, (1, 1)),
        _layer("tall", (1, 3, 40, 2), 2, (3, 3)),
        _layer("long-rows", (1, 4, 5, 40), 3, (3, 3)),
    ),
    ladder=tuple(map(_of, conv2d.OP.ladder)),
    variants=({"padding": 1}, {"stride": 2, "padding": (1, 0)}, {"stride": (1, 3)}),
    draw=conv2d.draw,
)
