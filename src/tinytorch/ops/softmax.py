"""softmax: exp(x - max x) / sum of the same, along the last axis."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch.errors import ShapeError
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Size, Tolerance


def _reference(x: Array) -> Array:
    if not x.size:
        return x
    shifted = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def _output_shape(shapes: Shapes) -> Shape:
    if not shapes[0]:
        raise ShapeError("softmax needs at least one axis, got a scalar: use x.reshape(1)")
    return shapes[0]


def _bound(reference: Array, x: Array) -> Array:
    distance = x.max(axis=-1, keepdims=True) - x if x.size else x
    # A masked logit, -inf, is exactly 0: its bound is 0, not 0 times inf.
    distance = np.where(reference == 0, 0.0, distance)
    terms = math.sqrt(max(1, x.shape[-1]))
    return np.asarray(reference * (distance + 4 + terms))


def _draw(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Draw logits some units apart. Wider ones would lose terms below the sum's last place, an
    error that grows with C and not with its root."""
    return np.asarray(3.0 * rng.standard_normal(shape)).astype(dtype)


def _flops(shapes: Shapes) -> int:
    # max, subtract, exp, add, divide: five an element.
    return 5 * math.prod(shapes[0])


OP = Op(
    name="softmax",
    signature="(..., C) -> (..., C)",
    reference=_reference,
    output_shape=_output_shape,
    flops=_flops,
    draw=_draw,
    tolerance=Tolerance(
        "x - max rounds by half an eps of itself, which exp turns into as large a relative error; "
        "exp adds 2 ulp, the sum sqrt(C) eps, the division half: all relative to each probability,"
        " so zeros in place of small ones fail",
        _bound,
    ),
    sizes=(
        Size("one", ((1, 1),)),
        Size("vector", ((9,),)),
        Size("empty", ((0, 5),)),
        Size("empty-row", ((5, 0),)),
        Size("square", ((64, 64),)),
        Size("tall", ((1031, 3),)),
        Size("wide", ((3, 10007),)),
        Size("odd", ((33, 65),)),
        Size("4d", ((2, 3, 5, 7),)),
    ),
    ladder=tuple(
        Size(name, (shape,))
        for name, shape in {
            "64x64": (64, 64),
            "256x256": (256, 256),
            "1024x1024": (1024, 1024),
            "4096x1024": (4096, 1024),
        }.items()
    ),
)
