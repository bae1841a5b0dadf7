"""add: x + y, broadcast."""

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
from tinytorch.ops.spec import Op

OP = Op(
    name="add",
    signature="(...), (...) -> (...)",
    reference=np.add,
    output_shape=binary_shape,
    flops=flops_per_element(1, binary_shape),
    tolerance=roundings(1, "one rounding"),
    sizes=binary_sizes(),
    ladder=ladder_sizes(2),
    specials=SPECIALS,
)
