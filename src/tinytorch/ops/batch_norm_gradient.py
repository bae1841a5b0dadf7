"""batch_norm_gradient: what batch_norm's output changes by with x, gain and bias, times dy.

With r = 1 / sqrt(variance + eps) and n = (x - mean) r, sums over the images and pixels of a
channel: dgain = sum dy n, dbias = sum dy, and dx = gain r (dy - (dbias + n dgain) / (N L)), for the
moments move with x; with `batch` False they are fixed, and dx = gain r dy.
"""

from __future__ import annotations

import math

import numpy as np

from tinytorch.ops.batch_norm import EPS, checked, draw, sized
from tinytorch.ops.channel_moments import LADDER, SHAPES, over_channels, root_of_terms
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Tolerance


def _normalised(x: Array, mean: Array, variance: Array, eps: float) -> tuple[Array, Array]:
    scale = 1 / np.sqrt(variance + eps)
    return (x - mean[:, None]) * scale[:, None], scale


def _reference(
    x: Array,
    mean: Array,
    variance: Array,
    gain: Array,
    dy: Array,
    eps: float = EPS,
    batch: bool = True,
) -> tuple[Array, Array, Array]:
    n, scale = _normalised(x, mean, variance, eps)
    factor = (gain * scale)[:, None]
    moved = over_channels(dy) + n * over_channels(dy * n) if batch else 0
    return factor * (dy - moved), (dy * n).sum(axis=(0, 2)), dy.sum(axis=(0, 2))


def _output_shape(shapes: Shapes, eps: float = EPS, batch: bool = True) -> tuple[Shape, ...]:
    x, mean, variance, gain, dy = shapes
    vector = checked("batch_norm_gradient", (x, mean, variance, gain))[1:2]
    checked("batch_norm_gradient", (dy, mean, variance, gain))
    return x, vector, vector


def _flops(shapes: Shapes, eps: float = EPS, batch: bool = True) -> int:
    # n in two, dy n, two sums; then, with moments of the batch, three products and two differences.
    return (10 if batch else 6) * math.prod(shapes[0])


def _bound(
    reference: tuple[Array, ...],
    x: Array,
    mean: Array,
    variance: Array,
    gain: Array,
    dy: Array,
    eps: float = EPS,
    batch: bool = True,
) -> tuple[Array, ...]:
    n, scale = _normalised(x, mean, variance, eps)
    terms, count = root_of_terms(x), x.shape[0] * x.shape[2]
    level = over_channels(np.abs(dy))
    along = over_channels(np.abs(dy * n))
    inside = np.abs(dy)
    if batch:
        inside = inside + (3 + 2 * terms) * (level + np.abs(n) * along) + 4 * np.abs(n) * along
    return (
        np.abs(gain * scale)[:, None] * inside + 4 * np.abs(reference[0]),
        (4 + 2 * terms) * count * along[:, 0],
        (1 + 2 * terms) * count * level[:, 0],
    )


OP = Op(
    name="batch_norm_gradient",
    signature="(N, C, L), (C,), (C,), (C,), (N, C, L) -> (N, C, L), (C,), (C,)",
    reference=_reference,
    output_shape=_output_shape,
    flops=_flops,
    tolerance=Tolerance(
        "sums err as dot's, 2 sqrt(N L) eps of their terms' size, and dy n by 4 eps of itself; dx "
        "errs by what its two means and n do, and by half an eps for each of its steps",
        _bound,
    ),
    sizes=sized(SHAPES, vectors=3, images=2),
    ladder=sized(LADDER, vectors=3, images=2),
    variants=({}, {"batch": False}),
    draw_all=draw,
    outputs=3,
)
