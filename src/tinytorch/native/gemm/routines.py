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
from tinytorch.native.pointers import ask_for, ask_to_write, at, types

# Addresses of the micro-kernel for one tile, of packing, and of the micro-kernel for a strip.
Routines = namedtuple("Routines", "tile pack strip")


# The longest rows of A that are asked for ahead.
_SHALLOW = 256


def _tile(rows, vectors, a, a_row, a_step, b, b_step, depth, c, c_row, alpha, keep):
    multiply_tile(rows, vectors, a, a_row, a_step, b, b_step, depth, c, c_row, alpha, keep)


def _strip(
    rows,
    step,
    vectors,
    a,
    a_row,
    a_step,
    a_apart,
    b,
    b_step,
    depth,
    c,
    c_row,
    alpha,
    keep,
    bias,
    has_bias,
    width,
    residual,
    residual_row,
    has_residual,
    activation,
    is_first,
):
    """Multiply `rows` rows of A, tiles of `step` rows `a_apart` elements apart, by one panel of B.

    Where the panel `is_first` to be multiplied by these rows, those of the next tile are asked for
    while one is computed: short rows end before the CPU's own prefetching has begun. Each tile of
    C is finished as soon as it is written, while it is in the first cache.
    """
    is_finished = has_bias != 0 or has_residual != 0 or activation != 0
    reads_ahead = is_first != 0 and a_step == 1 and depth <= _SHALLOW
    if is_finished:
        bias = epilogue.padded(bias, has_bias, width, epilogue.bias_room(alpha))
    for i in range(0, rows, step):
        following = min(step, rows - i - step)
        if following > 0:
            ask_to_write(at(c, (i + step) * c_row), following, c_row, 1)
            if reads_ahead:
                ask_for(at(a, a_apart), following, a_row, depth)
        high, place = min(step, rows - i), at(c, i * c_row)
        multiply_tile(high, vectors, a, a_row, a_step, b, b_step, depth, place, c_row, alpha, keep)
        if is_finished:
            other = at(residual, i * residual_row) if has_residual != 0 else residual
            epilogue.apply(
                place,
                c_row,
                high,
                vectors,
                bias,
                width,
                other,
                residual_row,
                has_residual,
                activation,
            )
        a = at(a, a_apart)


@functools.cache
def _compiled(dtype: str) -> tuple[Any, ...]:
    real, size = getattr(types, dtype), types.int64
    place = types.CPointer(real)
    tile = types.void(size, size, place, size, size, place, size, size, place, size, real, real)
    pack = types.void(place, size, size, size, size, place, size)
    # fmt: off
    strip = types.void(
        size, size, size, place, size, size, size, place, size, size, place, size, real, real,
        place, size, size, place, size, size, size, size,
    )
    # fmt: on
    return (
        c_function(_tile, tile),
        c_function(packing.pack, pack),
        c_function(_strip, strip),
    )


def addresses(dtype: str) -> tuple[int, int, int]:
    """Return the addresses of the routines for 'float32' or 'float64', compiled if need be."""
    tile, pack, strip = _compiled(dtype)
    return tile.address, pack.address, strip.address
