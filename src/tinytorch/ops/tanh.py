"""tanh: the hyperbolic tangent, (exp(2x) - 1) / (exp(2x) + 1)."""

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
    return np.asarray(np.tanh(x))


OP = Op(
    name="tanh",
    signature="(...) -> (...)",
    reference=_reference,
    output_shape=unary_shape,
    # A transcendental is counted as one.
    flops=flops_per_element(1),
    tolerance=roundings(8, "tanh errs by 4 ulp at most, ours and NumPy's"),
    sizes=unary_sizes(),
    ladder=ladder_sizes(1),
    specials=SPECIALS,
)
