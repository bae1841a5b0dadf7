"""layer_norm: each row less its mean, over its standard deviation, times gain, plus bias.

Ba, Kiros and Hinton, "Layer Normalization" (2016); the variance is the mean square deviation, and
`eps` is added to it before the root, as in PyTorch.
"""

from __future__ import annotations

import numpy as np

from tinytorch.ops.rows import (
    LADDER,
    flops_per_element,
    mean,
    root_of_terms,
    row_shape,
    row_sizes,
)
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Tolerance

EPS = 1e-5


def _reference(x: Array, gain: Array, bias: Array, eps: float = EPS) -> Array:
    centred = x - mean(x)
    return np.asarray(centred / np.sqrt(mean(centred * centred) + eps) * gain + bias)


def _output_shape(shapes: Shapes, eps: float = EPS) -> Shape:
    return row_shape("layer_norm", shapes)


def error_of_normalised(x: Array, eps: float) -> tuple[Array, Array, Array]:
    """Return the normalised rows, 1 / deviation, and a bound of the former's error in eps."""
    terms = root_of_terms(x)
    centred = x - mean(x)
    scale = 1 / np.sqrt(mean(centred * centred) + eps)
    normalised = centred * scale
    shift = (1 + 2 * terms) * mean(np.abs(x))
    return normalised, scale, scale * shift + np.abs(normalised) * (4 + terms)


def _bound(reference: Array, x: Array, gain: Array, bias: Array, eps: float = EPS) -> Array:
    _, _, error = error_of_normalised(x, eps)
    return np.asarray(np.abs(gain) * error + np.abs(reference))


OP = Op(
    name="layer_norm",
    signature="(..., C), (C,), (C,) -> (..., C)",
    reference=_reference,
    output_shape=_output_shape,
    # The mean (1), the deviation (1), its square and their mean (2), division, gain, bias (3).
    flops=flops_per_element(7),
    tolerance=Tolerance(
        "sums err as dot's: the mean by 2 sqrt(C) eps mean|x|, which shifts the row; the variance "
        "by 2 sqrt(C) eps of itself, halved by the root; subtraction, square, root, division and "
        "gain round half an eps each, and so does the sum with the bias",
        _bound,
    ),
    sizes=row_sizes(vectors=2),
    ladder=row_sizes(vectors=2, shapes=LADDER),
)
