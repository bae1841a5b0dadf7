"""Rows of activations by a packed weight, inside compiled code: of float32, or of INT8 codes.

A weight is twelve numbers in a table (`Dense`), so one compiled form serves every layer.
"""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from tinytorch.native.codecache import jit
from tinytorch.native.encoder.rows import activate
from tinytorch.native.gemm.blocked import even_step
from tinytorch.native.gemm.microkernel import LANES, NR
from tinytorch.native.gemm.pointers import at, call
from tinytorch.native.int8 import blocked as int8
from tinytorch.native.int8.addresses import floats_at, longs_at

# `panels` are float32 (K, N) by panels, or codes; the bias is there in either case. For codes the
# rest says what `int8.Weights` and `int8.Shape` do, and the columns hold the bias as well.
Dense = namedtuple(
    "Dense", "is_coded panels K N bias starts kinds columns column_bytes steps padded unused"
)
SIZE = len(Dense._fields)
# What all coded weights share: their tile, their routines, and where rows become codes.
Coder = namedtuple(
    "Coder", "rows columns block code_bytes top prepare tile finish codes scales zeros sums"
)
# The deepest panel of B that is walked in one go.
_DEPTH = 768


@jit
def dense_at(table, index):
    """Return the weight `index` of a table."""
    n = longs_at(table + 8 * SIZE * index)
    return Dense(n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10], n[11])


@jit
def part_of(dense, share, shares, coder):
    """Return the columns, first and last, that are a share's part: whole panels."""
    wide = coder.columns if dense.is_coded != 0 else NR(np.float32(0))
    panels = (dense.N + wide - 1) // wide
    first, last = share * panels // shares * wide, (share + 1) * panels // shares * wide
    return min(first, dense.N), min(last, dense.N)


@jit
def _multiply_floats(a, a_row, rows, dense, columns, out, out_row, strip):
    one, zero = np.float32(1), np.float32(0)
    wide, lanes = NR(one), LANES(one)
    panels = floats_at(dense.panels)
    step = even_step(rows, one, 2)
    for j in range(columns[0], columns[1], wide):
        width = min(wide, columns[1] - j)
        place = at(out, j)
        for k in range(0, dense.K, _DEPTH):
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
                min(_DEPTH, dense.K - k),
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
def _multiply_codes(a, a_row, rows, dense, columns, out, out_row, activation, coder):
    int8._share(
        (0, rows),
        columns,
        int8.Source(a, a_row, 4, 0.0, 0.0, coder.top),
        int8.Weights(
            dense.panels,
            dense.starts,
            dense.kinds,
            dense.columns,
            dense.column_bytes,
            dense.steps,
        ),
        int8.Target(out, out_row, 1, activation),
        int8.Shape(rows, dense.N, dense.K, dense.padded, coder.code_bytes),
        int8.Tile(coder.rows, coder.columns, 4 * coder.rows, coder.block),
        int8.Routines(coder.prepare, coder.tile, coder.finish),
        int8.Room(coder.codes, coder.scales, coder.zeros, coder.sums),
    )


@jit
def multiply(a, a_row, rows, dense, columns, out, out_row, activation, strip, coder):
    """Write those columns of rows @ weight to `out`, finished if there is an `activation`.

    Addresses are integers, and rows `a_row` and `out_row` floats apart. Codes bring the bias along;
    floats leave it to what comes next, unless there is an activation: its number, -1 for none.
    """
    if dense.is_coded != 0:
        number = max(activation, 0)
        _multiply_codes(a, a_row, rows, dense, columns, out, out_row, number, coder)
        return
    place = floats_at(out)
    _multiply_floats(floats_at(a), a_row, rows, dense, columns, place, out_row, strip)
    if activation >= 0:
        first, width = columns[0], columns[1] - columns[0]
        for i in range(rows):
            row = at(place, i * out_row + first)
            activate(row, at(floats_at(dense.bias), first), width, activation)
