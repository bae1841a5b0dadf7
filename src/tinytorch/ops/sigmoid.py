"""sigmoid: 1 / (1 + exp(-x)), the logistic function."""

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
    return np.asarray(1 / (1 + np.exp(-x)))


OP = Op(
    name="sigmoid",
    signature="(...) -> (...)",
    reference=_reference,
    output_shape=unary_shape,
    # -x, exp, 1 +, divide: four, a transcendental counted as one.
    flops=flops_per_element(4),
    tolerance=roundings(6, "exp errs by 2 ulp at most, the sum and the division by half an eps"),
    sizes=unary_sizes(),
    ladder=ladder_sizes(1),
    specials=SPECIALS,
)
