"""Fused from `row_distances`; written by tinytorch.fuse, named by a hash of its content."""

import math

import numpy as np

from tinytorch.fuse import loops, trig
from tinytorch.native import vmath
from tinytorch.native.codecache import jit, prange


@jit(flags=frozenset())
def rows0_fb8dd32203003d10(a, b, out0, n0, first, last):
    for i0 in range(first, last):
        r4 = np.float32(0.0)
        for j0 in range(0, n0):
            v0 = loops.load(a, ((i0) * n0 + j0,), True, 0, 3)
            v1 = loops.load(b, ((i0) * n0 + j0,), True, 1, 3)
            v2 = v0 - v1
            v3 = v2 * v2
            r4 = loops.plus(r4, v3)
        v5 = loops.sqrt(r4)
        loops.store(out0, (i0,), v5, True, 2, 3)

@jit(flags=frozenset())
def serial_fb8dd32203003d10(a, b, out0, n0, n1, shares):
    rows0 = n1
    for share in range(shares):
        rows0_fb8dd32203003d10(a, b, out0, n0, share * rows0 // shares, (share + 1) * rows0 // shares)

@jit(parallel=True, flags=frozenset())
def parallel_fb8dd32203003d10(a, b, out0, n0, n1, shares):
    rows0 = n1
    for share in prange(shares):
        rows0_fb8dd32203003d10(a, b, out0, n0, share * rows0 // shares, (share + 1) * rows0 // shares)
