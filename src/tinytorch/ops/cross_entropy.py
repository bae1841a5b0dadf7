"""cross_entropy: the mean over rows of log sum exp(logits) - logits[label].

A scalar, as a training loop wants it; `labels` are integers from 0 to C - 1, one a row. Over no
rows the mean is NaN, as in PyTorch.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.log_softmax import error_of_log_sum
from tinytorch.ops.rows import flops_per_element, logits
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Size, Tolerance

SHAPES: dict[str, Shape] = {
    "one": (1, 1),
    "tiny": (2, 5),
    "empty": (0, 5),
    "square": (64, 64),
    "tall": (1031, 3),
    "wide": (3, 10007),
    "odd": (33, 65),
    "threads": (47, 1031),
}
LADDER: dict[str, Shape] = {
    "64x64": (64, 64),
    "256x256": (256, 256),
    "1024x1024": (1024, 1024),
    "4096x1024": (4096, 1024),
}


def labelled_shape(name: str, shapes: Shapes) -> Shape:
    """Return the shape of the logits; raises ShapeError unless there is one label a row."""
    rows, labels = shapes
    if len(rows) != 2 or labels != rows[:1]:
        raise ShapeError(f"{name} takes logits (N, C) and labels (N,), got {rows} and {labels}")
    if rows[0] and not rows[1]:
        raise ShapeError(f"{name} needs at least one class, got logits {rows}")
    return rows


def checked_labels(name: str, labels: Array, classes: int) -> None:
    """Raise InvalidValue unless all labels are classes. It is a kernel's duty to ask."""
    if not labels.size:
        return
    if labels.dtype == np.int64 and np.maximum.reduce(labels.view(np.uint64)) < classes:
        return  # as unsigned numbers the negative ones are the largest: one look instead of two
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= classes:
        raise InvalidValue(
            f"{name}'s labels must be from 0 to {classes - 1} for {classes} classes, got {lowest} "
            f"to {highest}"
        )


def draw_labelled(
    rng: np.random.Generator, shapes: Shapes, dtype: np.dtype[Any]
) -> tuple[Array, ...]:
    """Draw logits, and labels among their classes."""
    rows, labels = shapes
    return logits(rng, rows, dtype), rng.integers(0, max(1, rows[-1]), labels)


def labelled_sizes(shapes: dict[str, Shape]) -> tuple[Size, ...]:
    """Return sizes of logits with a label a row."""
    return tuple(Size(name, (shape, shape[:1])) for name, shape in shapes.items())


def _reference(logits: Array, labels: Array) -> Array:
    if not logits.size:
        return np.asarray(np.nan)
    largest = logits.max(axis=-1)
    total = np.log(np.exp(logits - largest[:, None]).sum(axis=-1))
    return np.asarray((total - (logits[np.arange(labels.size), labels] - largest)).mean())


def _output_shape(shapes: Shapes) -> Shape:
    labelled_shape("cross_entropy", shapes)
    return ()


def _bound(reference: Array, logits: Array, labels: Array) -> Array:
    if not logits.size:
        return reference
    largest = logits.max(axis=-1)
    total = np.log(np.exp(logits - largest[:, None]).sum(axis=-1))
    chosen = logits[np.arange(labels.size), labels]
    row = error_of_log_sum(logits)[:, 0] + np.abs(largest) + np.abs(total) + np.abs(chosen)
    return np.asarray(row.mean() + (1 + math.sqrt(labels.size)) * np.abs(reference))


OP = Op(
    name="cross_entropy",
    signature="(N, C), (N,) -> ()",
    reference=_reference,
    output_shape=_output_shape,
    # max, subtract, exp, add: four an element.
    flops=flops_per_element(4),
    tolerance=Tolerance(
        "each row's log of the sum as log_softmax's, and half an eps of the maximum, the logarithm "
        "and the chosen logit as they are put together; the mean of N positive terms adds sqrt(N)",
        _bound,
    ),
    sizes=labelled_sizes(SHAPES),
    ladder=labelled_sizes(LADDER),
    draw_all=draw_labelled,
    indices=(1,),
)
