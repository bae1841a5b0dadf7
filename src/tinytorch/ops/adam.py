"""adam: one step of Adam, or AdamW: new weights, and the new means of gradients and squares.

Kingma and Ba (2014), in PyTorch's form: m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2,
w = w - lr m / (1 - beta1^step) / (sqrt(v / (1 - beta2^step)) + eps). `weight_decay` is added to the
gradient, times w, or, with `decoupled` (Loshchilov and Hutter, 2017), taken from the weights, times
lr. `step` counts from 1; give it as a float, as all numbers that change from call to call.

Three outputs (w, m, v); `out=(w, m, v)` with the inputs themselves updates them in place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.elementwise import flops_per_element, ladder_sizes, unary_sizes
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Size, Tolerance, wide


@dataclass(frozen=True)
class Numbers:
    """What a step computes with, made from its params once for all elements.

    added: times w, to the gradient; kept: the share of w that decay leaves; rate: lr over the first
    bias correction; root: 1 over the root of the second.
    """

    beta1: float
    other1: float
    beta2: float
    other2: float
    rate: float
    root: float
    eps: float
    added: float
    kept: float


def numbers(
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    step: float = 1.0,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> Numbers:
    """Return the numbers of a step from adam's params; raises InvalidValue for impossible ones."""
    if not (step >= 1 and 0 <= beta1 < 1 and 0 <= beta2 < 1 and eps >= 0):
        raise InvalidValue(
            "adam takes step >= 1, betas in [0, 1) and eps >= 0, got "
            f"step {step}, betas {beta1} and {beta2}, eps {eps}"
        )
    return Numbers(
        beta1,
        1 - beta1,
        beta2,
        1 - beta2,
        lr / (1 - beta1**step),
        1 / (1 - beta2**step) ** 0.5,
        eps,
        0.0 if decoupled else weight_decay,
        1 - lr * weight_decay if decoupled else 1.0,
    )


def formula(w: Array, g: Array, m: Array, v: Array, n: Numbers) -> tuple[Array, ...]:
    """Return the step in NumPy, in the arrays' own type."""
    g = g + n.added * w
    m = n.beta1 * m + n.other1 * g
    v = n.beta2 * v + n.other2 * (g * g)
    w = n.kept * w - n.rate * m / (n.root * np.sqrt(v) + n.eps)
    return w, m, v


def _reference(w: Array, g: Array, m: Array, v: Array, **params: Any) -> tuple[Array, ...]:
    return formula(w, g, m, v, numbers(**params))


def _output_shape(shapes: Shapes, **params: Any) -> tuple[Shape, Shape, Shape]:
    numbers(**params)
    if len(set(shapes)) != 1:
        raise ShapeError(f"adam takes four arrays of one shape, got {shapes}")
    return shapes[0], shapes[0], shapes[0]


def _bound(
    reference: tuple[Array, ...], w: Array, g: Array, m: Array, v: Array, **params: Any
) -> tuple[Array, ...]:
    n = numbers(**params)
    _, new_m, new_v = reference
    total = g + n.added * w
    off_g = np.abs(n.added * w) + np.abs(total)
    off_m = 1.5 * (np.abs(n.beta1 * m) + np.abs(n.other1 * total)) + n.other1 * off_g
    off_v = 2 * new_v + 2 * n.other2 * np.abs(total) * off_g
    root = n.root * np.sqrt(new_v) + n.eps
    change = n.rate * new_m / root
    with np.errstate(all="ignore"):
        # The root halves what v errs by; where v is 0, so is its error.
        relative = np.where(new_v > 0, 0.5 * off_v / new_v, 0.0)
    off_w = n.rate / root * off_m + np.abs(change) * (4 + relative) + 2 * np.abs(n.kept * w)
    return off_w + np.abs(reference[0]), off_m, off_v


def _draw(rng: np.random.Generator, shapes: Shapes, dtype: np.dtype[Any]) -> tuple[Array, ...]:
    w, g, m, v = (wide(rng, shape, dtype) for shape in shapes)
    return w, g, np.asarray(m * dtype.type(0.1)), v * v


OP = Op(
    name="adam",
    signature="(...), (...), (...), (...) -> (...), (...), (...)",
    reference=_reference,
    output_shape=_output_shape,
    # g in 2, m in 3, v in 4, w in 7 with the root and the division.
    flops=flops_per_element(16),
    tolerance=Tolerance(
        "constants, products and sums round half an eps each; m may cancel, so its error is that of"
        " its terms, and the step carries it on; v's is relative, and the root halves it; root, "
        "product, sum, quotient and product add 4 eps of the step, and w's decay and difference 2",
        _bound,
    ),
    sizes=(
        *(Size(s.name, s.shapes * 4) for s in unary_sizes() if s.name not in ("prime", "empty-2d")),
        Size("threads", ((48_007,),) * 4),
    ),
    ladder=ladder_sizes(4),
    variants=(
        {"step": 3.0},
        {"step": 10.0, "weight_decay": 0.1, "decoupled": True},
        {"step": 2.0, "weight_decay": 0.1},
    ),
    draw_all=_draw,
    outputs=3,
)
