"""momentum: one step of gradient descent with a velocity, in PyTorch's form.

v = momentum v + g + weight_decay w, and w = w - lr v. Two outputs (w, v); `out=(w, v)` with the
inputs themselves updates them in place.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.errors import ShapeError
from tinytorch.ops.elementwise import flops_per_element, ladder_sizes, unary_sizes
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Size, Tolerance

_DEFAULTS = {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.0}


def formula(
    w: Array, g: Array, v: Array, lr: float, momentum: float, weight_decay: float
) -> tuple[Array, Array]:
    """Return the step in NumPy, in the arrays' own type."""
    v = momentum * v + (g + weight_decay * w)
    return w - lr * v, v


def numbers(**params: float) -> tuple[float, float, float]:
    """Return lr, momentum and weight_decay, as given or by default; TypeError for another name."""
    if params.keys() - _DEFAULTS.keys():
        raise TypeError(f"momentum takes {', '.join(_DEFAULTS)}, got {', '.join(params)}")
    lr, momentum, decay = (_DEFAULTS | params).values()
    return lr, momentum, decay


def _reference(w: Array, g: Array, v: Array, **params: float) -> tuple[Array, Array]:
    return formula(w, g, v, *numbers(**params))


def _output_shape(shapes: Shapes, **params: Any) -> tuple[Shape, Shape]:
    numbers(**params)
    if len(set(shapes)) != 1:
        raise ShapeError(f"momentum takes three arrays of one shape, got {shapes}")
    return shapes[0], shapes[0]


def _bound(
    reference: tuple[Array, Array], w: Array, g: Array, v: Array, **params: float
) -> tuple[Array, Array]:
    lr, momentum, decay = numbers(**params)
    kept, decayed = np.abs(momentum * v), np.abs(decay * w)
    off_v = kept + decayed + 0.5 * (np.abs(g) + decayed) + 0.5 * np.abs(reference[1])
    step = np.abs(lr * reference[1])
    return abs(lr) * off_v + step + np.abs(reference[0]), off_v + 0.5 * np.abs(reference[1])


OP = Op(
    name="momentum",
    signature="(...), (...), (...) -> (...), (...)",
    reference=_reference,
    output_shape=_output_shape,
    # Three products, two sums and a difference.
    flops=flops_per_element(6),
    tolerance=Tolerance(
        "constants, products and sums round half an eps each; the velocity may cancel, so its error"
        " is that of its terms, and the step carries it on",
        _bound,
    ),
    sizes=(
        *(Size(s.name, s.shapes * 3) for s in unary_sizes() if s.name not in ("prime", "empty-2d")),
        Size("threads", ((48_007,),) * 3),
    ),
    ladder=ladder_sizes(3),
    variants=({}, {"lr": 0.3, "momentum": 0.5, "weight_decay": 0.1}),
    outputs=2,
)
