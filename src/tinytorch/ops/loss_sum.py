"""loss_sum: how far x is from t, a term for each element, summed.

`loss` is "mse", with terms (x - t)^2, or "bce", binary cross-entropy of probabilities x with
targets t: -(t log x + (1 - t) log(1 - x)), its logarithms kept above -100 as PyTorch does.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch.errors import UnknownName
from tinytorch.ops.dot import equal_shapes, paired_sizes
from tinytorch.ops.elementwise import ladder_sizes
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Tolerance

LOWEST_LOG = -100.0
LOSSES = ("mse", "bce")


def known_loss(op: str, loss: str) -> None:
    """Raise UnknownName for a loss that is none of LOSSES."""
    if loss not in LOSSES:
        raise UnknownName(f"loss of {op}", loss, LOSSES)


def draw(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Draw probabilities, some of them exactly 0 or 1."""
    return np.asarray(np.clip(rng.uniform(-0.1, 1.1, shape), 0, 1)).astype(dtype)


def _reference(x: Array, t: Array, loss: str = "mse") -> Array:
    if loss == "mse":
        return np.asarray(((x - t) ** 2).sum())
    log_x, log_rest = np.maximum(np.log(x), LOWEST_LOG), np.maximum(np.log1p(-x), LOWEST_LOG)
    return np.asarray(-(t * log_x + (1 - t) * log_rest).sum())


def _output_shape(shapes: Shapes, loss: str = "mse") -> Shape:
    known_loss("loss_sum", loss)
    return equal_shapes(shapes)


def _flops(shapes: Shapes, loss: str = "mse") -> int:
    # mse: difference, square, sum. bce: two logarithms, two limits, 1 - x, 1 - t, two products, the
    # sum of both and of all.
    return (3 if loss == "mse" else 10) * math.prod(shapes[0])


def _bound(reference: Array, x: Array, t: Array, loss: str = "mse") -> Array:
    term = 1.501 if loss == "mse" else 6
    return np.asarray((term + 2 * math.sqrt(max(1, x.size))) * reference)


OP = Op(
    name="loss_sum",
    signature="(...), (...) -> ()",
    reference=_reference,
    output_shape=_output_shape,
    flops=_flops,
    tolerance=Tolerance(
        "the sum as dot's, 2 sqrt(n) eps of terms none of which is negative; a square errs by 3/2 "
        "eps; a logarithm by 4 eps, and 1 - t, the product and the sum of two by half an eps each",
        _bound,
    ),
    sizes=paired_sizes(),
    ladder=ladder_sizes(2),
    variants=tuple({"loss": name} for name in LOSSES),
    draw=draw,
)
