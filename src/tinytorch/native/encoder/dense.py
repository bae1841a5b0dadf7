"""Rows of activations by a packed weight, inside compiled code: of float32, or of INT8 codes.

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
from tinytorch.native.int8 import blocked as int8
from tinytorch.native.pointers import at, call, floats_at, longs_at, types

# `panels` are float32 (K, N) by panels, or codes; the bias is there in either case. For codes the
# rest says what `int8.Weights` and `int8.Shape` do, and the columns hold the bias as well, where it
# is to be added at once; `inverse` (K floats) is what rows are multiplied by first, unless it is 0;
# `wide` is the columns of a panel.
Dense = namedtuple(
    "Dense", "is_coded panels K N bias kinds columns column_bytes steps padded inverse wide"
)
SIZE = len(Dense._fields)
# What all coded weights share: their tile, their routines, and the bytes from where rows become
# codes to where their scales, zeros and sums are, and rows that were multiplied before.
Coder = namedtuple(
    "Coder",
    "rows columns block code_bytes top prepare tile finish scales_at zeros_at sums_at rows_at "
    "finished",
)
# The bytes of B's panel that are walked in one go: it stays in the first cache, beside A's rows.
_PANEL_BYTES = 24 << 10


@jit
def dense_at(table, index):
    """Return the address of the weight `index` of a table."""
    return table + 8 * SIZE * index


@jit
def bias_of(weight):
    """Return the address of a weight's bias, floats."""
    return floats_at(longs_at(weight)[4])


@jit
def width_of(weight):
    """Return the columns of a weight."""
    return longs_at(weight)[3]


@jit
def depth_of(weight):
    """Return the rows of a weight."""
    return longs_at(weight)[2]


@jit
def is_coded(weight):
    """Say whether a weight is of codes."""
    return longs_at(weight)[0] != 0


@jit
def part_of(weight, share, shares):
    """Return the columns, first and last, that are a share's part: whole panels, of either kind."""
    wide = longs_at(weight)[11] if is_coded(weight) else NR(np.float32(0))
    N = width_of(weight)
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


@jit
def _stretched(a, a_row, rows, dense, target):
    """Write rows times what evens out their channels to `target`, one behind the other."""
    inverse = floats_at(dense.inverse)
    for i in range(rows):
        source, place = floats_at(a + 4 * i * a_row), floats_at(target + 4 * i * dense.K)
        for k in range(dense.K):
            place[k] = source[k] * inverse[k]


@jit
def _multiply_codes(a, a_row, rows, dense, columns, out, out_row, activation, coder, codes):
    if dense.inverse != 0:
        _stretched(a, a_row, rows, dense, codes + coder.rows_at)
        a, a_row = codes + coder.rows_at, dense.K
    int8._share(
        (0, rows),
        columns,
        int8.Source(a, a_row, 4, 0.0, 0.0, coder.top),
        int8.Weights(
            dense.panels,
            dense.padded,
            (dense.N + coder.columns - 1) // coder.columns * coder.columns,
            dense.kinds,
            dense.columns,
            dense.column_bytes,
            dense.steps,
        ),
        int8.Target(out, out_row, 1, activation),
        int8.Shape(rows, dense.N, dense.K, dense.padded, coder.code_bytes),
        int8.Tile(coder.rows, coder.columns, coder.finished, coder.block),
        int8.Routines(coder.prepare, coder.tile, coder.finish),
        int8.Room(codes, codes + coder.scales_at, codes + coder.zeros_at, codes + coder.sums_at, 0),
    )


def _multiply(a, a_row, rows, weight, first, last, out, out_row, activation, strip, about, codes):
    """Write columns first … last of rows @ weight to `out`, finished if there is an `activation`.

    Rows are `a_row` and `out_row` floats apart, `weight` and `about` the addresses of a Dense and a
    Coder, `codes` that of the room for codes. Codes bring the bias along; floats leave it to what
    comes next, unless there is an activation: its number, -1 for none.
    """
    n = longs_at(weight)
    dense = Dense(n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11])
    columns = (first, last)
    if dense.is_coded != 0:
        c = longs_at(about)
        coder = Coder(
            c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8], c[9], c[10], c[11], c[12]
        )
        number = max(activation, 0)
        _multiply_codes(a, a_row, rows, dense, columns, out, out_row, number, coder, codes)
        return
    place = floats_at(out)
    _multiply_floats(floats_at(a), a_row, rows, dense, columns, place, out_row, strip)
    if activation >= 0:
        for i in range(rows):
            row = at(place, i * out_row + first)
            activate(row, at(floats_at(dense.bias), first), last - first, activation)


@functools.cache
def _compiled() -> Any:
    return c_function(_multiply, types.void(*(types.int64,) * 12))


def address() -> int:
    """Return the address of `_multiply`, which takes integers only, compiled if need be."""
    return int(_compiled().address)
