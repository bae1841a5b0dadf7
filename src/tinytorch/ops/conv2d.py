"""conv2d: the convolution (cross-correlation) of images, bias and activation included.

Y[n, o, y, x] = activation(b[o] + sum over c, i, j of
W[o, c, i, j] X[n, c, y s + i - p, x s + j - p]) with zeros around X; `stride` s and `padding` p are
an int or a (height, width) pair each; `activation` is "none" or "relu".
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Size, Tolerance, wide
from tinytorch.ops.windows import Geometry, Pair

ACTIVATIONS = ("none", "relu")


def geometry(x: Shape, w: Shape, stride: Pair = 1, padding: Pair = 0) -> Geometry:
    """Return where the patches of images x (N, C, H, W) lie for weights w (O, C, kh, kw).

    Raises ShapeError or InvalidValue for what does not fit.
    """
    if len(w) != 4:
        raise ShapeError(f"a convolution's weight must be 4D, (out, in, height, width), got {w}")
    found = Geometry.of(x, w[2:], stride, padding)
    if x[1] != w[1]:
        raise ShapeError(
            f"an input of {x[1]} channels does not match a weight for {w[1]} channels: shapes "
            f"{tuple(x)} and {tuple(w)}"
        )
    return found


def _output_shape(
    shapes: Shapes, stride: Pair = 1, padding: Pair = 0, activation: str = "none"
) -> Shape:
    x, w, b = shapes
    if activation not in ACTIVATIONS:
        raise InvalidValue(
            f"conv2d's activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}"
        )
    found = geometry(x, w, stride, padding)
    if b != (w[0],):
        raise ShapeError(f"a bias of shape {b} does not match {w[0]} output channels")
    return (x[0], w[0], *found.output)


def _flops(shapes: Shapes, stride: Pair = 1, padding: Pair = 0, activation: str = "none") -> int:
    output = math.prod(_output_shape(shapes, stride, padding, activation))
    extra = 1 if activation == "none" else 2
    return output * (2 * math.prod(shapes[1][1:]) + extra)


def summed(x: Array, w: Array, stride: Pair, padding: Pair) -> Array:
    """Return the convolution without a bias: one product of channels for each kernel element."""
    found = geometry(x.shape, w.shape, stride, padding)
    roomy = found.padded(x)
    result = np.zeros((x.shape[0], w.shape[0], *found.output), np.result_type(x, w))
    for i, j, pixels in found.places():
        result += np.einsum("oc,nchw->nohw", w[:, :, i, j], roomy[pixels], optimize=True)
    return result


def _reference(
    x: Array,
    w: Array,
    b: Array,
    stride: Pair = 1,
    padding: Pair = 0,
    activation: str = "none",
) -> Array:
    z = summed(x, w, stride, padding) + b[:, None, None]
    return np.maximum(z, 0) if activation == "relu" else z


def _bound(
    reference: Array,
    x: Array,
    w: Array,
    b: Array,
    stride: Pair = 1,
    padding: Pair = 0,
    activation: str = "none",
) -> Array:
    terms = max(1, math.prod(w.shape[1:]))
    magnitude = summed(np.abs(x), np.abs(w), stride, padding)
    # The bias may be what a sum starts with, and then takes part in the rounding of each addition.
    return np.asarray(2.0 * math.sqrt(terms + 1) * (magnitude + np.abs(b)[:, None, None]))


def draw(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Draw an eighth of `wide`, so that sums fall on both sides of an activation's bend."""
    return np.asarray(wide(rng, shape, dtype) * dtype.type(0.125))


def _layer(name: str, x: Shape, O: int, kernel: tuple[int, int]) -> Size:  # noqa: E741
    return Size(name, (x, (O, x[1], *kernel), (O,)))


def _square(N: int, C: int, H: int, O: int, k: int) -> Size:  # noqa: E741
    return _layer(f"{N}x{C}x{H}x{H}-{O}x{k}x{k}", (N, C, H, H), O, (k, k))


OP = Op(
    name="conv2d",
    signature="(N, C, H, W), (O, C, kh, kw), (O,) -> (N, O, oh, ow)",
    reference=_reference,
    output_shape=_output_shape,
    flops=_flops,
    tolerance=Tolerance(
        "a sum of K = C kh kw products and the bias, in any order, as matmul's: 2 sqrt(K + 1) eps "
        "(|W|*|X| + |b|); relu's slope is at most 1",
        _bound,
    ),
    sizes=(
        _layer("one", (1, 1, 1, 1), 1, (1, 1)),
        _layer("empty-batch", (0, 2, 5, 5), 3, (3, 3)),
        _layer("no-channels", (2, 0, 4, 4), 3, (2, 2)),
        _layer("gray", (3, 1, 12, 12), 6, (5, 5)),
        _layer("small-images", (5, 4, 7, 7), 13, (3, 3)),
        _layer("odd", (2, 5, 9, 13), 8, (3, 2)),
        _layer("deep", (1, 61, 6, 5), 7, (3, 3)),
        _layer("pointwise", (2, 6, 5, 5), 7, (1, 1)),
        _layer("tall", (1, 2, 40, 2), 3, (3, 2)),
        _layer("long-rows", (1, 3, 4, 40), 4, (3, 3)),
    ),
    ladder=(
        _square(1, 3, 32, 8, 3),
        _square(64, 1, 28, 6, 5),
        _square(64, 6, 14, 16, 5),
        _square(1, 64, 56, 64, 3),
        _square(1, 128, 28, 128, 3),
        _square(1, 256, 14, 256, 3),
        _square(1, 512, 7, 512, 3),
        _square(8, 64, 56, 64, 3),
    ),
    variants=(
        {"padding": 1},
        {"stride": 2, "padding": (1, 0), "activation": "relu"},
        {"stride": (1, 3), "padding": 2},
    ),
    draw=draw,
)
