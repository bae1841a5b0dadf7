"""Fused from `softmax`; written by tinytorch.fuse, named by a hash of its content."""

import math

import numpy as np

from tinytorch.fuse import loops, trig
from tinytorch.native import vmath
from tinytorch.native.codecache import jit, prange


@jit(flags=frozenset())
def rows0_1c5d12d376018c17(x, out0, n0, first, last):
    for i0 in range(first, last):
        r1 = np.float32(-np.inf)
        for j0 in range(0, n0):
            v0 = loops.load(x, ((i0) * n0 + j0,), True, 0, 3)
            r1 = loops.larger(r1, v0)
        r5 = np.float32(0.0)
        for j0 in range(0, n0):
            v0 = loops.load(x, ((i0) * n0 + j0,), True, 0, 3)
            v3 = v0 - r1
            v4 = vmath.exp(v3)
            r5 = loops.plus(r5, v4)
            loops.store(out0, ((i0) * n0 + j0,), v4, True, 1, 3)
        for j0 in range(0, n0):
            v4 = loops.load(out0, ((i0) * n0 + j0,), True, 1, 3)
            v7 = v4 / r5
            loops.store(out0, ((i0) * n0 + j0,), v7, True, 1, 3)

@jit(flags=frozenset())
def serial_1c5d12d376018c17(x, out0, n0, n1, shares):
    rows0 = n1
    for share in range(shares):
        rows0_1c5d12d376018c17(x, out0, n0, share * rows0 // shares, (share + 1) * rows0 // shares)

@jit(parallel=True, flags=frozenset())
def parallel_1c5d12d376018c17(x, out0, n0, n1, shares):
    rows0 = n1
    for share in prange(shares):
        rows0_1c5d12d376018c17(x, out0, n0, share * rows0 // shares, (share + 1) * rows0 // shares)
