"""layer_norm_gradient: what layer_norm's output changes by with x, gain and bias, times dy.

With n the normalised rows, r = 1 / sqrt(variance + eps), h = dy gain, and means along rows:
dx = r (h - mean h - n mean(h n)); dgain = sum of dy n over rows; dbias = sum of dy over rows.
Three outputs: dx of x's shape, dgain and dbias of gain's.
"""

from __future__ import annotations

import math

import numpy as np

from tinytorch.ops.layer_norm import EPS, error_of_normalised
from tinytorch.ops.rows import LADDER, SHAPES, flops_per_element, mean, root_of_terms, row_shape
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Size, Tolerance


def _rows(x: Array) -> Array:
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _reference(x: Array, gain: Array, dy: Array, eps: float = EPS) -> tuple[Array, ...]:
    centred = x - mean(x)
    scale = 1 / np.sqrt(mean(centred * centred) + eps)
    normalised = centred * scale
    h = dy * gain
    dx = scale * (h - mean(h) - normalised * mean(h * normalised))
    return dx, _rows(dy * normalised).sum(axis=0), _rows(dy).sum(axis=0)


def _output_shape(shapes: Shapes, eps: float = EPS) -> tuple[Shape, Shape, Shape]:
    x, gain, dy = shapes
    row_shape("layer_norm_gradient", (x, dy, gain), arrays=2)
    return x, gain, gain


def _bound(
    reference: tuple[Array, ...], x: Array, gain: Array, dy: Array, eps: float = EPS
) -> tuple[Array, ...]:
    terms = root_of_terms(x)
    normalised, scale, error = error_of_normalised(x, eps)
    h = dy * gain
    along = mean(h * normalised)
    off_mean = (2 + 2 * terms) * mean(np.abs(h))
    off_along = mean(np.abs(h) * error) + (2 + 2 * terms) * mean(np.abs(h * normalised))
    inside = 2 * (np.abs(h) + np.abs(mean(h)) + np.abs(normalised * along))
    inside = inside + off_mean + np.abs(normalised) * off_along + error * np.abs(along)
    rows = 1 + 2 * math.sqrt(max(1, math.prod(x.shape[:-1])))
    return (
        scale * inside + (4 + terms) * np.abs(reference[0]),
        _rows(np.abs(dy) * error + rows * np.abs(dy * normalised)).sum(axis=0),
        rows * _rows(np.abs(dy)).sum(axis=0),
    )


def _sizes(shapes: dict[str, Shape]) -> tuple[Size, ...]:
    return tuple(Size(name, (shape, shape[-1:], shape)) for name, shape in shapes.items())


OP = Op(
    name="layer_norm_gradient",
    signature="(..., C), (C,), (..., C) -> (..., C), (C,), (C,)",
    reference=_reference,
    output_shape=_output_shape,
    # n in 5, h and its mean (2), h n and its mean (2), dx in 4, dy n and two sums (3).
    flops=flops_per_element(16),
    tolerance=Tolerance(
        "n as in layer_norm; each mean along a row errs by 2 sqrt(C) eps of its terms' size and by "
        "theirs; each sum over R rows by 2 sqrt(R) eps of its terms' size and by theirs; two "
        "roundings of each term of dx, and r errs by sqrt(C) and 4 eps of itself",
        _bound,
    ),
    sizes=_sizes(SHAPES),
    ladder=_sizes(LADDER),
    outputs=3,
)
