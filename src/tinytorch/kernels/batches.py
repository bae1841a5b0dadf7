"""Batched products, for the rungs that are written for one pair of matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.ops.spec import Array


def each_product(
    op: str,
    product: Callable[[Array, Array, Array], Any],
    a: Array,
    b: Array,
    out: Array | None,
    *,
    contiguous: bool = False,
) -> Array:
    """Call `product(a, b, out)` for each pair of matrices, batch axes broadcast; return the output.

    `product` must write every element of the 2-D `out` that it is given. With `contiguous` it gets
    C-contiguous arrays only, copied where they were not: compiled loops would otherwise be compiled
    for each mixture of layouts. `out` may share memory with an operand, which costs a copy.
    """
    result = destination(op, (a, b), out)
    aliased = out is not None and (np.may_share_memory(out, a) or np.may_share_memory(out, b))
    if aliased or (contiguous and not result.flags.c_contiguous):
        result = np.empty(result.shape, result.dtype)
    if contiguous:
        a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    if a.ndim == 2 and b.ndim == 2:
        product(a, b, result)
    else:
        batch = result.shape[:-2]
        a = np.broadcast_to(a, batch + a.shape[-2:])
        b = np.broadcast_to(b, batch + b.shape[-2:])
        for index in np.ndindex(*batch):
            product(a[index], b[index], result[index])
    if out is not None and result is not out:
        out[...] = result
        return out
    return result
