"""One compiled loop that reads both and selects, without a branch, on all threads.

A number stays a number; anything else that broadcasts is written out beforehand, the condition as
bytes.
"""

import numpy as np

from tinytorch.fuse import fuse
from tinytorch.kernels.outputs import destination
from tinytorch.kernels.registry import kernel


@fuse(rigid=True)
def where(condition, a, b):
    return np.where(condition, a, b)


def _flat(array, shape):
    if array.shape != shape:
        array = np.broadcast_to(array, shape)
    return np.ascontiguousarray(array).reshape(-1)


@kernel("where", above="unfused", reuses_out=True, worthwhile_from=1 << 12)
def fused(a, b, condition, out=None):
    result = destination("where", (a, b, condition), out)
    if not result.size:
        return result
    shape = result.shape
    target = result if result.flags.c_contiguous else np.empty(shape, result.dtype)
    flags = condition if condition.dtype.itemsize == 1 else condition != 0
    first = a.reshape(-1)[0] if a.size == 1 else _flat(a, shape)
    second = b.reshape(-1)[0] if b.size == 1 < a.size else _flat(b, shape)
    where(_flat(flags, shape).view(np.bool_), first, second, out=target.reshape(-1))
    if target is not result:
        result[...] = target
    return result
