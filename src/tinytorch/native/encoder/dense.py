"""Rows of activations by a packed weight in float32, inside compiled code.

A weight is a row of numbers in a table (`Dense`), and the product is called by address: one
compiled form serves every layer of every model.
"""

from __future__ import annotations

import functools
from collections import namedtuple
from typing import Any

import numpy as np

from tinytorch.native.codecache import c_function, jit
from tinytorch.native.encoder.rows import activate
from tinytorch.native.gemm.blocked import even_step
from tinytorch.native.gemm.microkernel import LANES, NR
from tinytorch.native.pointers import at, call, floats_at, longs_at, types

# panels: the weight (K, N) by panels; bias: N floats.
Dense = namedtuple("Dense", "panels K N bias")
SIZE = len(Dense._fields)
# The bytes of B's panel that are walked in one go: it stays in the first cache, beside A's rows.
_PANEL_BYTES = 24 << 10


@jit
def dense_at(table, index):
    """Return the address of the weight `index` of a table."""
    return table + 8 * SIZE * index


@jit
def bias_of(weight):
    """Return the address of a weight's bias, floats."""
    return floats_at(longs_at(weight)[3])


@jit
def width_of(weight):
    """Return the columns of a weight."""
    return longs_at(weight)[2]


@jit
def depth_of(weight):
    """Return the rows of a weight."""
    return longs_at(weight)[1]


@jit
def part_of(weight, share, shares):
    """Return the columns, first and last, that are a share's part: whole panels."""
    wide, N = NR(np.float32(0)), width_of(weight)
    panels = (N + wide - 1) // wide
    first, last = share * panels // shares * wide, (share + 1) * panels // shares * wide
    return min(first, N), min(last, N)


@jit
def _multiply_floats(a, a_row, rows, dense, columns, out, out_row, strip):
    one, zero = np.float32(1), np.float32(0)
    wide, lanes = NR(one), LANES(one)
    panels = floats_at(dense.panels)
    step, deepest = even_step(rows, one, 2), _PANEL_BYTES // (4 * wide)
    for j in range(columns[0], columns[1], wide):
        width = min(wide, columns[1] - j)
        place = at(out, j)
        for k in range(0, dense.K, deepest):
            call(
                strip,
                rows,
                step,
                width // lanes,
                at(a, k),
                a_row,
                1,
                step * a_row,
                at(panels, j * dense.K + k * wide),
                wide,
                min(deepest, dense.K - k),
                place,
                out_row,
                one,
                zero if k == 0 else one,
                place,
                0,
                width,
                place,
                0,
                0,
                0,
                0,
            )


def _multiply(a, a_row, rows, weight, first, last, out, out_row, activation, strip):
    """Write columns first … last of rows @ weight to `out`, finished if there is an `activation`.

    Rows are `a_row` and `out_row` floats apart, `weight` the address of a Dense. The bias is left
    to what comes next, unless there is an activation: its number, -1 for none.
    """
    n = longs_at(weight)
    dense = Dense(n[0], n[1], n[2], n[3])
    place = floats_at(out)
    _multiply_floats(floats_at(a), a_row, rows, dense, (first, last), place, out_row, strip)
    if activation >= 0:
        for i in range(rows):
            row = at(place, i * out_row + first)
            activate(row, at(floats_at(dense.bias), first), last - first, activation)


@functools.cache
def _compiled() -> Any:
    return c_function(_multiply, types.void(*(types.int64,) * 10))


def address() -> int:
    """Return the address of `_multiply`, which takes integers only, compiled if need be."""
    return int(_compiled().address)
