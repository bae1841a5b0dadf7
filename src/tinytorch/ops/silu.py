"""silu: x / (1 + exp(-x)), the sigmoid-weighted linear unit, also known as swish.

Elfwing, Uchibe and Doya (2017); Ramachandran, Zoph and Le (2017).
"""

from __future__ import annotations

import math

import numpy as np

from tinytorch.ops.elementwise import (
    SPECIALS,
    flops_per_element,
    ladder_sizes,
    roundings,
    unary_shape,
    unary_sizes,
)
from tinytorch.ops.spec import Array, Op, Size


def _reference(x: Array) -> Array:
    return np.asarray(x / (1 + np.exp(-x)))


OP = Op(
    name="silu",
    signature="(...) -> (...)",
    reference=_reference,
    output_shape=unary_shape,
    # -x, exp, 1 +, divide: four, a transcendental counted as one.
    flops=flops_per_element(4),
    tolerance=roundings(8, "exp errs by 2 ulp at most, the sum and the division by half an eps"),
    sizes=(*unary_sizes(), Size("threads", ((48_007,),))),
    ladder=ladder_sizes(1),
    # The formula is -inf / inf at -inf, so a kernel may give NaN there or the limit, 0.
    specials=tuple(v for v in SPECIALS if v != -math.inf),
)
