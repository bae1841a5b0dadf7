"""binary_cross_entropy: the sum of -(t log p + (1 - t) log(1 - p)) over all elements.

p holds probabilities and t targets, from 0 to 1. Logarithms are kept above -100, as in PyTorch.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch.ops.dot import equal_shapes, paired_sizes
from tinytorch.ops.elementwise import flops_per_element, ladder_sizes
from tinytorch.ops.spec import Array, Op, Shape, Tolerance

LOWEST_LOG = -100.0


def draw(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Draw numbers from 0 to 1, some of them exactly that."""
    return np.asarray(np.clip(rng.uniform(-0.1, 1.1, shape), 0, 1)).astype(dtype)


def _reference(p: Array, t: Array) -> Array:
    with np.errstate(divide="ignore"):
        log_p, log_rest = np.maximum(np.log(p), LOWEST_LOG), np.maximum(np.log1p(-p), LOWEST_LOG)
    return np.asarray(-(t * log_p + (1 - t) * log_rest).sum())


def _bound(reference: Array, p: Array, t: Array) -> Array:
    return np.asarray((6 + 2 * math.sqrt(max(1, p.size))) * reference)


OP = Op(
    name="binary_cross_entropy",
    signature="(...), (...) -> ()",
    reference=_reference,
    output_shape=equal_shapes,
    # Two logarithms, two limits, -p, 1 - t, two products, the sum of both, its sign, and the sum.
    flops=flops_per_element(11),
    tolerance=Tolerance(
        "a logarithm errs by 4 eps; 1 - t, its product and the sum of both by half an eps each; "
        "the sum of n terms, none of them negative, as dot's, by 2 sqrt(n) eps",
        _bound,
    ),
    sizes=paired_sizes(),
    ladder=ladder_sizes(2),
    draw=draw,
)
