"""squared_difference: (x - y)^2, broadcast."""

from __future__ import annotations

import numpy as np

from tinytorch.ops.elementwise import (
    SPECIALS,
    binary_shape,
    binary_sizes,
    flops_per_element,
    ladder_sizes,
    roundings,
)
from tinytorch.ops.spec import Array, Op


def _reference(x: Array, y: Array) -> Array:
    return np.asarray((x - y) ** 2)


OP = Op(
    name="squared_difference",
    signature="(...), (...) -> (...)",
    reference=_reference,
    output_shape=binary_shape,
    flops=flops_per_element(2, binary_shape),
    tolerance=roundings(
        3.001,
        "the difference rounds once and is squared (twice its relative "
        "error), the square rounds once more",
    ),
    sizes=binary_sizes(),
    ladder=ladder_sizes(2),
    specials=SPECIALS,
)
