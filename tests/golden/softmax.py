"""Fused from `softmax`; written by tinytorch.fuse, named by a hash of its content."""

import math

import numpy as np

from tinytorch.fuse import loops, trig
from tinytorch.native import vmath
from tinytorch.native.codecache import jit, prange


@jit(flags=frozenset())
def rows0_fd27154e2856982c(x, out0, n0, first, last):
    for i0 in range(first, last):
        r1 = np.float32(-np.inf)
        for j0 in range(0, n0):
            v0 = loops.load(x, ((i0) * n0 + j0,), True, 0, 3)
            r1 = loops.larger(r1, v0)
        r5 = np.float32(0.0)
        for turn in range(0, n0, 512):
            loops.prefetch(x, (i0 + 1) * n0 + turn, min(512, n0 - turn))
            for j0 in range(turn, min(n0, turn + 512)):
                loops.interleave(4)
                v0 = loops.load(x, ((i0) * n0 + j0,), True, 0, 3)
                v3 = v0 - r1
                v4 = vmath.exp_nonpositive(v3)
                r5 = loops.plus(r5, v4)
                loops.store(out0, ((i0) * n0 + j0,), v4, True, 1, 3)
        v7 = np.float32(1.0) / r5
        for j0 in range(0, n0):
            loops.interleave(4)
            v4 = loops.load(out0, ((i0) * n0 + j0,), True, 1, 3)
            v8 = v4 * v7
            loops.store(out0, ((i0) * n0 + j0,), v8, True, 1, 3)

@jit(flags=frozenset())
def serial_fd27154e2856982c(x, out0, n0, n1, shares):
    rows0 = n1
    for share in range(shares):
        rows0_fd27154e2856982c(x, out0, n0, share * rows0 // shares, (share + 1) * rows0 // shares)

@jit(parallel=True, flags=frozenset())
def parallel_fd27154e2856982c(x, out0, n0, n1, shares):
    rows0 = n1
    for share in prange(shares):
        rows0_fd27154e2856982c(x, out0, n0, share * rows0 // shares, (share + 1) * rows0 // shares)
