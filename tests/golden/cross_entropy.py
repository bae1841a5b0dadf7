"""Fused from `cross_entropy`; written by tinytorch.fuse, named by a hash of its content."""

import math

import numpy as np

from tinytorch.fuse import loops, trig
from tinytorch.native import vmath
from tinytorch.native.codecache import jit, prange


@jit(flags=frozenset())
def rows0_49989d02373c32f3(logits, labels, classes, t14, t3, t7, n1, first, last):
    for i0 in range(first, last):
        v1 = loops.load(labels, (i0,), True, 1, 7)
        r3 = np.float32(-np.inf)
        r14 = np.float32(0.0)
        for j0 in range(0, n1):
            v0 = loops.load(logits, ((i0) * n1 + j0,), True, 0, 7)
            v2 = loops.load(classes, (j0,), True, 2, 7)
            v11 = v2 == v1
            v13 = loops.choose(v11, v0, np.float32(0.0))
            r3 = loops.larger(r3, v0)
            r14 = loops.plus(r14, v13)
        loops.store(t14, (i0,), r14, True, 4, 7)
        loops.store(t3, (i0,), r3, True, 5, 7)
        r7 = np.float32(0.0)
        for turn in range(0, n1, 512):
            loops.prefetch(logits, (i0 + 1) * n1 + turn, min(512, n1 - turn))
            for j0 in range(turn, min(n1, turn + 512)):
                loops.interleave(4)
                v0 = loops.load(logits, ((i0) * n1 + j0,), True, 0, 7)
                v5 = v0 - r3
                v6 = vmath.exp_nonpositive(v5)
                r7 = loops.plus(r7, v6)
        loops.store(t7, (i0,), r7, True, 6, 7)

@jit(flags=frozenset())
def pass1_0_49989d02373c32f3(t14, t3, t7, first, last):
    r16 = np.float32(0.0)
    for j0 in range(first, last):
        loops.interleave(4)
        v7 = loops.load(t7, (j0,), True, 6, 7)
        v8 = vmath.log(v7)
        v3 = loops.load(t3, (j0,), True, 5, 7)
        v9 = v8 + v3
        v14 = loops.load(t14, (j0,), True, 4, 7)
        v15 = v9 - v14
        r16 = loops.plus(r16, v15)
    return r16

@jit(flags=frozenset())
def serial_49989d02373c32f3(logits, labels, classes, out0, n0, n1, p0, shares):
    t14 = np.empty(n0, np.float32)
    t3 = np.empty(n0, np.float32)
    t7 = np.empty(n0, np.float32)
    rows0 = n0
    for share in range(shares):
        rows0_49989d02373c32f3(logits, labels, classes, t14, t3, t7, n1, share * rows0 // shares, (share + 1) * rows0 // shares)
    size1 = 16384
    blocks1 = (n0 + size1 - 1) // size1
    part16 = np.empty(blocks1, np.float32)
    for block in range(blocks1):
        one16 = pass1_0_49989d02373c32f3(t14, t3, t7, block * size1, min(n0, block * size1 + size1))
        part16[block] = one16
    r16 = np.float32(0.0)
    for block in range(blocks1):
        r16 = loops.plus(r16, part16[block])
    v18 = r16 / p0
    loops.store(out0, (0,), v18, True, 3, 7)

@jit(parallel=True, flags=frozenset())
def parallel_49989d02373c32f3(logits, labels, classes, out0, n0, n1, p0, shares):
    t14 = np.empty(n0, np.float32)
    t3 = np.empty(n0, np.float32)
    t7 = np.empty(n0, np.float32)
    rows0 = n0
    for share in prange(shares):
        rows0_49989d02373c32f3(logits, labels, classes, t14, t3, t7, n1, share * rows0 // shares, (share + 1) * rows0 // shares)
    size1 = 16384
    blocks1 = (n0 + size1 - 1) // size1
    part16 = np.empty(blocks1, np.float32)
    for block in prange(blocks1):
        one16 = pass1_0_49989d02373c32f3(t14, t3, t7, block * size1, min(n0, block * size1 + size1))
        part16[block] = one16
    r16 = np.float32(0.0)
    for block in range(blocks1):
        r16 = loops.plus(r16, part16[block])
    v18 = r16 / p0
    loops.store(out0, (0,), v18, True, 3, 7)
