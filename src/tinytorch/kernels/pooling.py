"""What the compiled rungs of pooling share: the table of numbers, and where they write."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.kernels.outputs import aligned_empty, destination
from tinytorch.native.aligned import address_of
from tinytorch.native.conv import product
from tinytorch.native.conv.pools import FIELDS
from tinytorch.native.threads import get_num_threads
from tinytorch.ops.spec import Array
from tinytorch.ops.windows import Geometry

# Pixels below which waking the threads costs more than they bring.
_WORTH_SHARING = 1 << 16


def run(
    op: str,
    arrays: tuple[Array, ...],
    geometry: Geometry,
    out: Array | None,
    **params: Any,
) -> Array:
    """Run a compiled pooling over images and gradients (either may be the only input)."""
    result = destination(op, arrays, out, **params)
    if not result.size:
        return result
    dense = [array if array.flags.c_contiguous else np.ascontiguousarray(array) for array in arrays]
    apart = out is not None and (
        not out.flags.c_contiguous or any(np.may_share_memory(out, array) for array in arrays)
    )
    target = aligned_empty(result.shape, result.dtype) if apart else result
    (n, c, h, w), (oh, ow) = geometry.images, geometry.output
    shares = 1 if n * c * h * w < _WORTH_SHARING else get_num_threads()
    places = [address_of(array) for array in (dense[0], dense[-1], target)]
    pairs = (*geometry.kernel, *geometry.stride, *geometry.padding, oh, ow)
    values = (*places, n * c, shares, h, w, *pairs)
    room = -(-max(w, ow) * result.itemsize // 64) * 64
    numbers = dict(zip(FIELDS, values, strict=False)) | {"ROOM_SHARE": room}
    product.run_table(op, result.dtype, numbers, shares)
    if apart:
        result[...] = target
    return result
