"""Batched products, for the rungs that are written for one pair of matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch.kernels.outputs import destination
from tinytorch.ops.spec import Array, Shape


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
        for index in np.ndindex(*result.shape[:-2]):
            own_a, own_b = _own(index, a.shape[:-2]), _own(index, b.shape[:-2])
            product(a[own_a], b[own_b], result[index])
    if out is not None and result is not out:
        out[...] = result
        return out
    return result


def _own(index: Shape, batch: Shape) -> Shape:
    """Return the place in an operand's own batch axes: 0 along those that are broadcast."""
    # NOTE: np.broadcast_to is read-only, and compiled loops would be compiled anew for that.
    return tuple(0 if n == 1 else i for i, n in zip(index[-len(batch) :], batch, strict=False))
