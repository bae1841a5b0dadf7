"""avg_pool2d: the mean of each window of images; a border counts as zeros.

`kernel_size`, `stride` and `padding` are an int or a (height, width) pair; without a stride,
windows lie side by side.
"""

from __future__ import annotations

import math

import numpy as np

from tinytorch.ops import max_pool2d
from tinytorch.ops.spec import Array, Op, Tolerance
from tinytorch.ops.windows import Pair, pooling


def _reference(
    x: Array, kernel_size: Pair = 2, stride: Pair | None = None, padding: Pair = 0
) -> Array:
    found = pooling(x.shape, kernel_size, stride, padding)
    roomy = found.padded(x)
    result = np.zeros((*x.shape[:2], *found.output))
    for _, _, pixels in found.places():
        result += roomy[pixels]
    return result / math.prod(found.kernel)


def _bound(
    reference: Array,
    x: Array,
    kernel_size: Pair = 2,
    stride: Pair | None = None,
    padding: Pair = 0,
) -> Array:
    terms = math.prod(pooling(x.shape, kernel_size, stride, padding).kernel)
    mean = _reference(np.abs(x), kernel_size, stride, padding)
    return np.asarray(2.0 * math.sqrt(terms) * mean + 2.0 * np.abs(reference))


OP = Op(
    name="avg_pool2d",
    signature="(N, C, H, W) -> (N, C, oh, ow)",
    reference=_reference,
    output_shape=max_pool2d.OP.output_shape,
    flops=max_pool2d.OP.flops,
    tolerance=Tolerance(
        "a sum of K = kh kw numbers, 2 sqrt(K) eps mean |X|, and two roundings to divide", _bound
    ),
    sizes=(*max_pool2d.sizes(), max_pool2d.ODD),
    ladder=max_pool2d.LADDER,
    variants=max_pool2d.VARIANTS,
)
