"""What the convolution's compiled rungs share: where they write, and what they may read in place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinytorch.kernels.outputs import aligned_empty
from tinytorch.native.conv.plan import Window
from tinytorch.ops.spec import Array
from tinytorch.ops.windows import Geometry


def window(geometry: Geometry, outputs: int) -> Window:
    """Return a convolution's numbers as compiled code takes them."""
    return Window(
        geometry.images,
        outputs,
        geometry.kernel,
        geometry.stride,
        geometry.padding,
        geometry.output,
    )


def by_elements(array: Array) -> Array:
    """Return the array, copied where its strides are not whole elements."""
    whole = all(stride % array.itemsize == 0 for stride in array.strides)
    return array if whole else np.ascontiguousarray(array)


def written(
    result: Array, arrays: tuple[Array, ...], is_callers: bool, write: Callable[[Array], None]
) -> Array:
    """Have `write` fill `result`, by way of memory apart where it is strided or overlaps."""
    if not result.size:
        return result
    apart = is_callers and (
        not result.flags.c_contiguous or any(np.may_share_memory(result, a) for a in arrays)
    )
    target = aligned_empty(result.shape, result.dtype) if apart else result
    write(target)
    if apart:
        result[...] = target
    return result
