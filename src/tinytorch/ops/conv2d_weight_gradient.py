"""conv2d_weight_gradient: what the loss gains by each element of a convolution's weights.

dW[o, c, i, j] = sum over n, y, x of dY[n, o, y, x] X[n, c, y s + i - p, x s + j - p], with zeros
around X. The adjoint of conv2d in its weights.

With a stride, several kernels give the same number of patches: `kernel_size` (kh, kw) says which;
by default it is the largest. `stride` and `padding` as in conv2d.
"""

from __future__ import annotations

import math

import numpy as np

from tinytorch.errors import ShapeError
from tinytorch.ops import conv2d
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Size, Tolerance
from tinytorch.ops.windows import Geometry, Pair, pair


def geometry(
    x: Shape,
    dy: Shape,
    stride: Pair = 1,
    padding: Pair = 0,
    kernel_size: tuple[int, int] | None = None,
) -> Geometry:
    """Return the geometry of the convolution of x (N, C, H, W) whose gradient is dy (N, O, oh, ow).

    Raises ShapeError or InvalidValue where there is none.
    """
    if len(x) != 4 or len(dy) != 4 or x[0] != dy[0]:
        raise ShapeError(
            f"conv2d_weight_gradient takes images (N, C, H, W) and gradients (N, O, oh, ow), got "
            f"{tuple(x)} and {tuple(dy)}"
        )
    step, border = pair(stride, "stride", 1), pair(padding, "padding", 0)
    most = [x[2 + i] + 2 * border[i] - (dy[2 + i] - 1) * step[i] for i in range(2)]
    if kernel_size is None and min(most) < 1:
        raise ShapeError(
            f"images of shape {tuple(x)} have fewer than {dy[2]}x{dy[3]} patches with stride "
            f"{step} and padding {border}"
        )
    found = Geometry.of(x, most if kernel_size is None else kernel_size, step, border)
    if found.output != tuple(dy[2:]):
        raise ShapeError(
            f"a kernel of {found.kernel[0]}x{found.kernel[1]} fits "
            f"{found.output[0]}x{found.output[1]} times, and the gradient's shape is {tuple(dy)}"
        )
    return found


def _output_shape(
    shapes: Shapes,
    stride: Pair = 1,
    padding: Pair = 0,
    kernel_size: tuple[int, int] | None = None,
) -> Shape:
    x, dy = shapes
    found = geometry(x, dy, stride, padding, kernel_size)
    return (dy[1], x[1], *found.kernel)


def _flops(
    shapes: Shapes,
    stride: Pair = 1,
    padding: Pair = 0,
    kernel_size: tuple[int, int] | None = None,
) -> int:
    weights = _output_shape(shapes, stride, padding, kernel_size)
    return 2 * math.prod(shapes[1]) * math.prod(weights[1:])


def _reference(
    x: Array,
    dy: Array,
    stride: Pair = 1,
    padding: Pair = 0,
    kernel_size: tuple[int, int] | None = None,
) -> Array:
    found = geometry(x.shape, dy.shape, stride, padding, kernel_size)
    roomy = found.padded(x)
    result = np.zeros((dy.shape[1], x.shape[1], *found.kernel), np.result_type(x, dy))
    for i, j, pixels in found.places():
        result[:, :, i, j] = np.einsum("nohw,nchw->oc", dy, roomy[pixels], optimize=True)
    return result


def _bound(
    reference: Array,
    x: Array,
    dy: Array,
    stride: Pair = 1,
    padding: Pair = 0,
    kernel_size: tuple[int, int] | None = None,
) -> Array:
    terms = max(1, dy.shape[0] * dy.shape[2] * dy.shape[3])
    magnitude = _reference(np.abs(x), np.abs(dy), stride, padding, kernel_size)
    return np.asarray(2.0 * math.sqrt(terms) * magnitude)


def _layer(name: str, x: Shape, dy: Shape) -> Size:
    return Size(name, (x, dy))


def _of(size: Size) -> Size:
    """Return the gradient's size for a forward size with a border of one pixel."""
    x, w, b = size.shapes
    return Size(size.name, (x, conv2d.OP.output_shape((x, w, b), padding=1)))


OP = Op(
    name="conv2d_weight_gradient",
    signature="(N, C, H, W), (N, O, oh, ow) -> (O, C, kh, kw)",
    reference=_reference,
    output_shape=_output_shape,
    flops=_flops,
    tolerance=Tolerance(
        "a sum of K = N oh ow products, as matmul's: 2 sqrt(K) eps |dY|*|X|", _bound
    ),
    sizes=(
        _layer("one", (1, 1, 1, 1), (1, 1, 1, 1)),
        _layer("empty-batch", (0, 2, 5, 8), (0, 3, 3, 3)),
        _layer("no-channels", (2, 0, 4, 4), (2, 3, 2, 2)),
        _layer("gray", (3, 1, 12, 14), (3, 6, 5, 5)),
        _layer("small-images", (5, 4, 9, 10), (5, 13, 5, 4)),
        _layer("odd", (3, 5, 9, 13), (3, 8, 4, 5)),
        _layer("many-pixels", (2, 1, 21, 20), (2, 3, 11, 7)),
        _layer("tall", (1, 2, 40, 2), (1, 3, 20, 1)),
        _layer("pointwise", (2, 6, 5, 5), (2, 7, 3, 2)),
        _layer("many-outputs", (1, 3, 6, 16), (1, 40, 3, 6)),
    ),
    ladder=tuple(map(_of, conv2d.OP.ladder)),
    variants=({"padding": 1}, {"stride": 2, "padding": (1, 0)}, {"stride": (1, 3)}),
    draw=conv2d.draw,
)
