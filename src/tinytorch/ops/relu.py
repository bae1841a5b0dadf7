"""relu: max(x, 0); NaN stays NaN."""

from __future__ import annotations

import numpy as np

from tinytorch.ops.elementwise import (
    SPECIALS,
    flops_per_element,
    ladder_sizes,
    roundings,
    unary_shape,
    unary_sizes,
)
from tinytorch.ops.spec import Array, Op


def _reference(x: Array) -> Array:
    return np.where(x < 0, 0.0, x)


OP = Op(
    name="relu",
    signature="(...) -> (...)",
    reference=_reference,
    output_shape=unary_shape,
    flops=flops_per_element(1),
    tolerance=roundings(0, "a comparison rounds nothing"),
    sizes=unary_sizes(),
    ladder=ladder_sizes(1),
    specials=SPECIALS,
)
