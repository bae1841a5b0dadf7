"""elementary: exp, log, sin or cos of each element, by `kind`."""

from __future__ import annotations

import numpy as np

from tinytorch.errors import UnknownName
from tinytorch.ops.elementwise import (
    SPECIALS,
    flops_per_element,
    ladder_sizes,
    roundings,
    unary_sizes,
)
from tinytorch.ops.spec import Array, Op, Shape, Shapes

FUNCTIONS = {"exp": np.exp, "log": np.log, "sin": np.sin, "cos": np.cos}


def _reference(x: Array, kind: str = "exp") -> Array:
    with np.errstate(all="ignore"):
        return np.asarray(FUNCTIONS[kind](x))


def _output_shape(shapes: Shapes, kind: str = "exp") -> Shape:
    if kind not in FUNCTIONS:
        raise UnknownName("kind of elementary", kind, FUNCTIONS)
    return shapes[0]


OP = Op(
    name="elementary",
    signature="(...) -> (...)",
    reference=_reference,
    output_shape=_output_shape,
    # A transcendental is counted as one.
    flops=flops_per_element(1),
    tolerance=roundings(8, "each errs by 4 ulp at most, ours and NumPy's"),
    sizes=unary_sizes(),
    ladder=ladder_sizes(1),
    specials=SPECIALS,
    variants=tuple({"kind": name} for name in FUNCTIONS),
)
