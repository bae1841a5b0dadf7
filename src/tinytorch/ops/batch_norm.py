"""batch_norm: each channel of x (N, C, L) less a mean, over a deviation, times gain, plus bias.

Ioffe and Szegedy, "Batch Normalization" (2015); `eps` is added to the variance before the root, as
in PyTorch. In training, mean and variance are this batch's (channel_moments); in use, running ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.errors import ShapeError
from tinytorch.ops.channel_moments import LADDER, SHAPES, channels
from tinytorch.ops.elementwise import flops_per_element
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Size, Tolerance, wide

EPS = 1e-5


def checked(op: str, shapes: Shapes) -> Shape:
    """Return x's shape; raises ShapeError unless x is (N, C, L) and all others are (C,)."""
    wanted = channels(op, shapes[0])
    if any(shape != wanted for shape in shapes[1:]):
        raise ShapeError(f"{op} takes vectors {wanted} for x {shapes[0]}, got {shapes[1:]}")
    return shapes[0]


def draw(rng: np.random.Generator, shapes: Shapes, dtype: np.dtype[Any]) -> tuple[Array, ...]:
    """Draw arrays, the third of which holds variances."""
    x, mean, variance, *others = (wide(rng, shape, dtype) for shape in shapes)
    return x, mean, np.abs(variance), *others


def sized(shapes: dict[str, Shape], vectors: int, images: int = 1) -> tuple[Size, ...]:
    """Return sizes of x, some vectors, and the other arrays of x's shape."""
    return tuple(
        Size(name, (x, *(x[1:2],) * vectors, *(x,) * (images - 1))) for name, x in shapes.items()
    )


def _reference(
    x: Array, mean: Array, variance: Array, gain: Array, bias: Array, eps: float = EPS
) -> Array:
    factor = gain / np.sqrt(variance + eps)
    return np.asarray((x - mean[:, None]) * factor[:, None] + bias[:, None])


def _output_shape(shapes: Shapes, eps: float = EPS) -> Shape:
    return checked("batch_norm", shapes)


def _bound(
    reference: Array,
    x: Array,
    mean: Array,
    variance: Array,
    gain: Array,
    bias: Array,
    **params: Any,
) -> Array:
    scaled = reference - bias[:, None]
    return np.asarray(4 * np.abs(scaled) + np.abs(reference))


OP = Op(
    name="batch_norm",
    signature="(N, C, L), (C,), (C,), (C,), (C,) -> (N, C, L)",
    reference=_reference,
    output_shape=_output_shape,
    # Difference, product, sum; the rest is a value a channel.
    flops=flops_per_element(3),
    tolerance=Tolerance(
        "the factor errs by 2 eps (a sum, its root, a division, a product), the difference and the "
        "product by half an eps, and the sum by half an eps of the result",
        _bound,
    ),
    sizes=sized(SHAPES, vectors=4),
    ladder=sized(LADDER, vectors=4),
    draw_all=draw,
)
