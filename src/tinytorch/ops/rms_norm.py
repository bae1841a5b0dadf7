"""rms_norm: each row over its root mean square, times gain.

Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019); `eps` is added to the mean
square before the root, as in PyTorch.
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

EPS = 1e-6


def _reference(x: Array, gain: Array, eps: float = EPS) -> Array:
    return np.asarray(x / np.sqrt(mean(x * x) + eps) * gain)


def _output_shape(shapes: Shapes, eps: float = EPS) -> Shape:
    return row_shape("rms_norm", shapes)


def _bound(reference: Array, x: Array, gain: Array, eps: float = EPS) -> Array:
    return np.asarray(np.abs(reference) * (3 + root_of_terms(x)))


OP = Op(
    name="rms_norm",
    signature="(..., C), (C,) -> (..., C)",
    reference=_reference,
    output_shape=_output_shape,
    # Square and sum (2), division, gain (2).
    flops=flops_per_element(4),
    tolerance=Tolerance(
        "the mean square errs as dot does, by 2 sqrt(C) eps of itself and 2 for its terms, halved "
        "by the root; root, division and gain round half an eps each",
        _bound,
    ),
    sizes=row_sizes(vectors=1),
    ladder=row_sizes(vectors=1, shapes=LADDER),
)
