"""Fused from `adam`; written by tinytorch.fuse, named by a hash of its content."""

import math

import numpy as np

from tinytorch.fuse import loops, trig
from tinytorch.native import vmath
from tinytorch.native.codecache import jit, prange


@jit(flags=frozenset())
def pass0_0_cba6b601a458f80f(weight, gradient, mean, square, out0, out1, out2, p0, p1, p2, p3, p4, p5, first, last):
    for j0 in range(first, last):
        v0 = loops.load(weight, (j0,), True, 0, 7)
        v2 = loops.load(mean, (j0,), True, 2, 7)
        v5 = p0 * v2
        v1 = loops.load(gradient, (j0,), True, 1, 7)
        v7 = p1 * v1
        v8 = v5 + v7
        v21 = p5 * v8
        v3 = loops.load(square, (j0,), True, 3, 7)
        v10 = p2 * v3
        v11 = v1 * v1
        v13 = p3 * v11
        v14 = v10 + v13
        v16 = v14 / p4
        v17 = loops.sqrt(v16)
        v19 = v17 + np.float32(9.99999993922529e-09)
        v22 = v21 / v19
        v23 = v0 - v22
        loops.store(out0, (j0,), v23, True, 4, 7)
        loops.store(out1, (j0,), v8, True, 5, 7)
        loops.store(out2, (j0,), v14, True, 6, 7)

@jit(flags=frozenset())
def serial_cba6b601a458f80f(weight, gradient, mean, square, out0, out1, out2, n0, p0, p1, p2, p3, p4, p5, shares):
    size0 = 16384
    blocks0 = (n0 + size0 - 1) // size0
    for block in range(blocks0):
        pass0_0_cba6b601a458f80f(weight, gradient, mean, square, out0, out1, out2, p0, p1, p2, p3, p4, p5, block * size0, min(n0, block * size0 + size0))

@jit(parallel=True, flags=frozenset())
def parallel_cba6b601a458f80f(weight, gradient, mean, square, out0, out1, out2, n0, p0, p1, p2, p3, p4, p5, shares):
    size0 = 16384
    blocks0 = (n0 + size0 - 1) // size0
    for block in prange(blocks0):
        pass0_0_cba6b601a458f80f(weight, gradient, mean, square, out0, out1, out2, p0, p1, p2, p3, p4, p5, block * size0, min(n0, block * size0 + size0))
