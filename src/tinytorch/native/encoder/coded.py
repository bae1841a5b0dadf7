"""Rows of codes by a weight in codes, inside compiled code, and what is done with each sum.

A weight is a row of numbers in a table (`Coded`). Rows are codes already: whatever made them, a
layer norm or an inner layer, wrote them as codes, so that here nothing is read but bytes. Each
panel of the weight is asked for while the one before it is multiplied.
"""

from __future__ import annotations

import functools
from collections import namedtuple
from typing import Any

from tinytorch.native.codecache import FLAGS, c_function, jit
from tinytorch.native.encoder.settle import settle
from tinytorch.native.pointers import (
    ask_for_near,
    ask_to_write,
    bytes_at,
    call,
    floats_at,
    ints_at,
    longs_at,
    types,
)

# panels: whole ones, as tiles take them; kinds and columns as in `int8.Weights`, `column_count` of
# each kind; `row_bytes` of a row of codes; `inverse` (K) is what its rows are multiplied by before
# they become codes, `even` (N) the same of what its columns are; `bias` (N) is for whoever adds it
# later.
Coded = namedtuple(
    "Coded", "panels kinds columns column_count steps N K row_bytes bias inverse even"
)
SIZE = len(Coded._fields)
# What all weights share: the tile, its routine, and the bytes and the largest of a code.
Coder = namedtuple("Coder", "rows columns finished tile code_bytes top lanes")


@jit
def weight_at(table, index):
    """Return the address of the weight `index` of a table."""
    return table + 8 * SIZE * index


@jit
def coded_at(weight):
    """Return the weight at an address."""
    n = longs_at(weight)
    return Coded(n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], n[10])


@jit
def coder_at(address):
    """Return what all weights share."""
    n = longs_at(address)
    return Coder(n[0], n[1], n[2], n[3], n[4], n[5], n[6])


def _multiply(
    codes, scales, zeros, rows, weight, first, last, out, out_row, kind, marks, coder, sums
):  # fmt: skip
    """Settle columns first … last of rows @ weight, in a way (`settle`), at `out` and behind it.

    Everything is a number: addresses, of a Coded and a Coder among them, and of room for sums;
    `marks` are two vectors a row.
    """
    w, c = coded_at(weight), coder_at(coder)
    row_bytes, tile_bytes = w.row_bytes, 4 * c.rows * c.columns
    groups = (rows + c.finished - 1) // c.finished
    panel_bytes = c.columns * row_bytes
    asked = (panel_bytes + groups - 1) // groups
    for j in range(first, last, c.columns):
        panel = j // c.columns
        packed, kinds = w.panels + panel * panel_bytes, w.kinds + panel * w.steps
        following = packed + panel_bytes
        width = min(c.columns, last - j)
        for i in range(0, rows, c.finished):
            count = min(c.finished, rows - i)
            ask_for_near(bytes_at(following), 1, asked, asked)
            following += asked
            target = floats_at(out + 4 * (i * out_row + j - first))
            # A tile's time before they are written: rows' ends lie in as many pages.
            ask_to_write(target, count, out_row, width)
            place = sums
            for k in range(i, i + count, c.rows):
                call(c.tile, codes + k * row_bytes, row_bytes, packed, kinds, w.steps, place)
                place += tile_bytes
            settle(
                kind,
                ints_at(sums),
                count,
                width,
                c.columns,
                floats_at(w.columns + 4 * j),
                w.column_count,
                floats_at(scales + 4 * i),
                floats_at(zeros + 4 * i),
                target,
                out_row,
                floats_at(w.even + 4 * j),
                floats_at(marks + 8 * c.lanes * i),
            )


@functools.cache
def _compiled() -> Any:
    # NOTE: not "contract": what is added to the states must be what shares add up later, rounded.
    return c_function(_multiply, types.void(*(types.int64,) * 13), FLAGS - {"contract"})


def address() -> int:
    """Return the address of `_multiply`, which takes integers only, compiled if need be."""
    return int(_compiled().address)
