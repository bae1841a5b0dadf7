"""Fused from `layer_norm`; written by tinytorch.fuse, named by a hash of its content."""

import math

import numpy as np

from tinytorch.fuse import loops, trig
from tinytorch.native import vmath
from tinytorch.native.codecache import jit, prange


@jit(flags=frozenset())
def rows0_a35198a2a04c1ebe(x, gain, bias, out0, n0, p0, first, last):
    for i0 in range(first, last):
        r3 = np.float32(0.0)
        for j0 in range(0, n0):
            v0 = loops.load(x, ((i0) * n0 + j0,), True, 0, 4)
            r3 = loops.plus(r3, v0)
        v6 = r3 / p0
        r9 = np.float32(0.0)
        for turn in range(0, n0, 512):
            loops.prefetch(x, (i0 + 1) * n0 + turn, min(512, n0 - turn))
            for j0 in range(turn, min(n0, turn + 512)):
                v0 = loops.load(x, ((i0) * n0 + j0,), True, 0, 4)
                v7 = v0 - v6
                v8 = v7 * v7
                r9 = loops.plus(r9, v8)
        v11 = r9 / p0
        v13 = v11 + np.float32(9.999999747378752e-06)
        v14 = loops.sqrt(v13)
        v15 = np.float32(1.0) / v14
        for j0 in range(0, n0):
            v0 = loops.load(x, ((i0) * n0 + j0,), True, 0, 4)
            v7 = v0 - v6
            v16 = v7 * v15
            v1 = loops.load(gain, (j0,), True, 1, 4)
            v17 = v16 * v1
            v2 = loops.load(bias, (j0,), True, 2, 4)
            v18 = v17 + v2
            loops.store(out0, ((i0) * n0 + j0,), v18, True, 3, 4)

@jit(flags=frozenset())
def serial_a35198a2a04c1ebe(x, gain, bias, out0, n0, n1, p0, shares):
    rows0 = n1
    for share in range(shares):
        rows0_a35198a2a04c1ebe(x, gain, bias, out0, n0, p0, share * rows0 // shares, (share + 1) * rows0 // shares)

@jit(parallel=True, flags=frozenset())
def parallel_a35198a2a04c1ebe(x, gain, bias, out0, n0, n1, p0, shares):
    rows0 = n1
    for share in prange(shares):
        rows0_a35198a2a04c1ebe(x, gain, bias, out0, n0, p0, share * rows0 // shares, (share + 1) * rows0 // shares)
