"""cross_entropy_gradient: what the mean cross-entropy changes by with each logit.

(softmax(logits) - [1 at the label]) * scale / N; `scale` is the gradient of what follows.
"""

from __future__ import annotations

import numpy as np

from tinytorch.ops import softmax
from tinytorch.ops.cross_entropy import (
    LADDER,
    SHAPES,
    draw_labelled,
    labelled_shape,
    labelled_sizes,
)
from tinytorch.ops.rows import flops_per_element
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Tolerance


def _reference(logits: Array, labels: Array, scale: float = 1.0) -> Array:
    result = np.array(softmax.OP.reference(logits))
    result[np.arange(labels.size), labels] -= 1
    return result * (scale / max(1, labels.size))


def _output_shape(shapes: Shapes, scale: float = 1.0) -> Shape:
    return labelled_shape("cross_entropy_gradient", shapes)


def _bound(reference: Array, logits: Array, labels: Array, scale: float = 1.0) -> Array:
    share = softmax.OP.reference(logits)
    error = softmax.OP.tolerance.bound(share, logits)
    one = np.zeros_like(logits)
    one[np.arange(labels.size), labels] = 1
    return np.asarray((error + one) * abs(scale / max(1, labels.size)) + 2 * np.abs(reference))


OP = Op(
    name="cross_entropy_gradient",
    signature="(N, C), (N,) -> (N, C)",
    reference=_reference,
    output_shape=_output_shape,
    # max, subtract, exp, add, divide or scale, scale: six an element.
    flops=flops_per_element(6),
    tolerance=Tolerance(
        "as softmax's; at the label, the difference from 1 rounds once; the scale and the division "
        "by N round half an eps of the result each",
        _bound,
    ),
    sizes=labelled_sizes(SHAPES),
    ladder=labelled_sizes(LADDER),
    variants=({}, {"scale": 0.25}),
    draw_all=draw_labelled,
    indices=(1,),
)
