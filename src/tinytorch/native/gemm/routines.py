"""The routines under the loops, each compiled once a data type, and called by address.

Called by name they would be compiled anew inside every function above them: half a minute in all.
"""

from __future__ import annotations

import functools
from collections import namedtuple
from typing import Any

from tinytorch.native.codecache import c_function
from tinytorch.native.gemm import epilogue, packing
from tinytorch.native.gemm.microkernel import multiply_tile
from tinytorch.native.gemm.pointers import types

# Addresses of the micro-kernel, of packing, of the epilogue.
Routines = namedtuple("Routines", "tile pack finish")


def _tile(rows, vectors, a, a_row, a_step, b, b_step, depth, c, c_row, alpha, keep):
    multiply_tile(rows, vectors, a, a_row, a_step, b, b_step, depth, c, c_row, alpha, keep)


@functools.cache
def _compiled(dtype: str) -> tuple[Any, ...]:
    real, size = getattr(types, dtype), types.int64
    place = types.CPointer(real)
    tile = types.void(size, size, place, size, size, place, size, size, place, size, real, real)
    pack = types.void(place, size, size, size, size, place, size)
    finish = types.void(place, size, size, size, place, size, place, size, size, size)
    return (
        c_function(_tile, tile),
        c_function(packing.pack, pack),
        c_function(epilogue.apply, finish),
    )


def addresses(dtype: str) -> tuple[int, int, int]:
    """Return the addresses of the routines for 'float32' or 'float64', compiled if need be."""
    tile, pack, finish = _compiled(dtype)
    return tile.address, pack.address, finish.address
