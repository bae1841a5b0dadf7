"""Fused from `gelu_tanh`; written by tinytorch.fuse, named by a hash of its content."""

import math

import numpy as np

from tinytorch.fuse import loops, trig
from tinytorch.native import vmath
from tinytorch.native.codecache import jit, prange


@jit(flags=frozenset())
def pass0_0_fd0dde8162aba953(x, out0, first, last):
    for j0 in range(first, last):
        loops.interleave(4)
        v0 = loops.load(x, (j0,), True, 0, 2)
        v2 = np.float32(0.5) * v0
        v3 = v0 * v0
        v4 = v0 * v3
        v6 = np.float32(0.044714998453855515) * v4
        v7 = v0 + v6
        v9 = np.float32(0.7978845834732056) * v7
        v10 = vmath.one_plus_tanh(v9)
        v11 = v2 * v10
        loops.store(out0, (j0,), v11, True, 1, 2)

@jit(flags=frozenset())
def serial_fd0dde8162aba953(x, out0, n0, shares):
    size0 = 16384
    blocks0 = (n0 + size0 - 1) // size0
    for block in range(blocks0):
        pass0_0_fd0dde8162aba953(x, out0, block * size0, min(n0, block * size0 + size0))

@jit(parallel=True, flags=frozenset())
def parallel_fd0dde8162aba953(x, out0, n0, shares):
    size0 = 16384
    blocks0 = (n0 + size0 - 1) // size0
    for block in prange(blocks0):
        pass0_0_fd0dde8162aba953(x, out0, block * size0, min(n0, block * size0 + size0))
