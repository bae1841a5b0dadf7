"""matmul: C = A @ B over the last two axes, batch axes broadcast."""

from __future__ import annotations

import math

import numpy as np

from tinytorch.errors import ShapeError
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Size, Tolerance


def _output_shape(shapes: Shapes) -> Shape:
    a, b = shapes
    if len(a) < 2 or len(b) < 2:
        raise ShapeError(
            f"matmul needs 2D+ operands, got shapes {a} and {b}: add an axis, e.g. x[None, :]"
        )
    if a[-1] != b[-2]:
        raise ShapeError(
            f"matmul shape mismatch: {a} @ {b}: the inner dimensions {a[-1]} and {b[-2]} must be "
            "equal; transpose or reshape one operand"
        )
    if a[:-2] == b[:-2]:
        return (*a[:-1], b[-1])  # np.broadcast_shapes takes as long as a small product
    try:
        batch = np.broadcast_shapes(a[:-2], b[:-2])
    except ValueError as error:
        raise ShapeError(
            f"matmul shape mismatch: the batch axes {a[:-2]} and {b[:-2]} do not broadcast"
        ) from error
    return (*batch, a[-2], b[-1])


def _flops(shapes: Shapes) -> int:
    return 2 * math.prod(_output_shape(shapes)) * shapes[0][-1]


def _bound(reference: Array, a: Array, b: Array) -> Array:
    terms = max(1, a.shape[-1])
    magnitude = np.matmul(np.abs(a), np.abs(b))
    return np.asarray(2.0 * math.sqrt(terms) * magnitude)


def _square(n: int) -> Size:
    return Size(str(n), ((n, n), (n, n)))


OP = Op(
    name="matmul",
    signature="(..., M, K) @ (..., K, N) -> (..., M, N)",
    reference=np.matmul,
    output_shape=_output_shape,
    flops=_flops,
    tolerance=Tolerance(
        "a sum of K rounded products errs by about sqrt(K) eps |A||B|; honest kernels reach 0.25 of"
        " 2 sqrt(K) eps |A||B|, half-precision inputs 14 times it",
        _bound,
    ),
    sizes=(
        Size("one", ((1, 1), (1, 1))),
        Size("tiny", ((3, 4), (4, 5))),
        Size("empty-m", ((0, 4), (4, 5))),
        Size("empty-k", ((3, 0), (0, 5))),
        Size("square", ((32, 32), (32, 32))),
        Size("tall", ((97, 5), (5, 3))),
        Size("wide", ((3, 7), (7, 101))),
        Size("deep", ((4, 150), (150, 4))),
        Size("odd", ((33, 17), (17, 65))),
        Size("prime", ((37, 41), (41, 43))),
        Size("partial-tile", ((66, 70), (70, 67))),
        Size("many-tiles", ((5, 261), (261, 517))),
        Size("row", ((1, 64), (64, 33))),
        Size("batched", ((3, 8, 9), (3, 9, 7))),
        Size("broadcast", ((2, 1, 5, 6), (3, 6, 4))),
    ),
    ladder=(
        *map(_square, (8, 32, 64, 128, 256, 512, 1024)),
        Size("tall-skinny", ((4096, 64), (64, 16))),
        Size("wide-flat", ((16, 64), (64, 4096))),
        Size("batch-32", ((32, 64, 64), (32, 64, 64))),
    ),
)
