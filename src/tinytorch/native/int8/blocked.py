"""The loops around the tile: activations that stay in the second cache, panels in the first.

Each share has its own rows and columns of the output: it prepares its rows block by block, and
multiplies each block by all of its panels. Every output is one tile's sum over the whole depth, so
it is the same for any number of shares.
"""

from __future__ import annotations

import functools
from collections import namedtuple
from typing import Any

from tinytorch.native.codecache import jit, prange
from tinytorch.native.int8.packing import spread_panel
from tinytorch.native.pointers import ask_to_write, call, floats_at, types

# Everything is a number: addresses, and counts in elements unless the name says bytes.
Source = namedtuple("Source", "start row item_bytes scale zero top")
Target = namedtuple("Target", "start row column activation")
# `depth` codes lie in a column, of `width` columns; where that is less than tiles take, panels are
# spread out in the room.
Weights = namedtuple("Weights", "start depth width kinds columns column_bytes steps")
Shape = namedtuple("Shape", "M N K padded code_bytes")
# `finished_rows` are settled and stored at once, some tiles of them.
Tile = namedtuple("Tile", "rows columns finished_rows block_rows")
# Where the routines are, and in a share's room: its codes, its rows' scales and zeros, its sums,
# and a panel (which is not used where all are whole).
Routines = namedtuple("Routines", "prepare tile finish")
Room = namedtuple("Room", "codes scales zeros sums panel")


@jit
def _panel_at(j, weights, shape, tile, room):
    """Return the address of the panel that begins at column j, as tiles take it."""
    width = min(tile.columns, weights.width - j)
    start = weights.start + j * weights.depth * shape.code_bytes
    if width == tile.columns and weights.depth == shape.padded:
        return start
    spread_panel(
        start, width, weights.depth, tile.columns, shape.padded, shape.code_bytes, room.panel
    )
    return room.panel


@jit
def _rows_of_tiles(first, count, j, weights, target, shape, tile, routines, room):
    """Multiply prepared rows by the panel that begins at column j, tile by tile."""
    packed = _panel_at(j, weights, shape, tile, room)
    kinds = weights.kinds + j // tile.columns * weights.steps
    columns = weights.columns + 4 * j
    row_bytes = shape.padded * shape.code_bytes
    width = min(tile.columns, shape.N - j)
    sums_bytes = 4 * tile.rows * tile.columns
    for i in range(0, count, tile.finished_rows):
        rows = min(tile.finished_rows, count - i)
        place = (first + i) * target.row + j * target.column
        sums = room.sums
        for k in range(i, i + rows, tile.rows):
            if target.column == 1:
                # A tile's time before they are written, for each row is in another page; a few at a
                # time, for more would hold up what the tile reads.
                lines = floats_at(target.start + 4 * (place + (k - i) * target.row))
                ask_to_write(lines, min(tile.rows, i + rows - k), target.row, width)
            codes = room.codes + k * row_bytes
            call(routines.tile, codes, row_bytes, packed, kinds, weights.steps, sums)
            sums += sums_bytes
        call(
            routines.finish,
            room.sums,
            rows,
            width,
            tile.columns,
            columns,
            weights.column_bytes,
            room.scales + 4 * i,
            room.zeros + 4 * i,
            target.start + 4 * place,
            target.row,
            target.column,
            target.activation,
        )


@jit
def _share(rows, columns, source, weights, target, shape, tile, routines, room):
    for first in range(rows[0], rows[1], tile.block_rows):
        count = min(tile.block_rows, rows[1] - first)
        call(
            routines.prepare,
            source.start + first * source.row * source.item_bytes,
            source.row,
            count,
            shape.K,
            shape.padded,
            source.scale,
            source.zero,
            source.top,
            room.codes,
            room.scales,
            room.zeros,
        )
        for j in range(columns[0], columns[1], tile.columns):
            _rows_of_tiles(first, count, j, weights, target, shape, tile, routines, room)


@jit
def _numbered_share(share, source, weights, target, shape, tile, routines, grid, room, room_parts):
    gi, gj = share // grid[1], share % grid[1]
    high = (shape.M + tile.rows - 1) // tile.rows
    wide = (shape.N + tile.columns - 1) // tile.columns
    i0, i1 = gi * high // grid[0] * tile.rows, (gi + 1) * high // grid[0] * tile.rows
    j0, j1 = gj * wide // grid[1] * tile.columns, (gj + 1) * wide // grid[1] * tile.columns
    own = room + share * room_parts[0]
    _share(
        (i0, min(i1, shape.M)),
        (j0, min(j1, shape.N)),
        source,
        weights,
        target,
        shape,
        tile,
        routines,
        Room(
            own,
            own + room_parts[1],
            own + room_parts[2],
            own + room_parts[3],
            own + room_parts[4],
        ),
    )


def _multiply(source, weights, target, shape, tile, routines, grid, room, room_parts):
    """Compute a product in grid[0] x grid[1] shares; each has room_parts[0] bytes from `room`."""
    shares = grid[0] * grid[1]
    if shares == 1:
        _numbered_share(0, source, weights, target, shape, tile, routines, grid, room, room_parts)
    else:
        for share in prange(shares):
            _numbered_share(
                share, source, weights, target, shape, tile, routines, grid, room, room_parts
            )


@functools.cache
def multiply() -> Any:
    """Return the compiled product; it takes the tuples above."""
    compiled: Any = jit(parallel=True)(_multiply)
    size, real = types.int64, types.float64

    def named(kind, *fields):
        return (
            types.NamedTuple(fields, kind)
            if len(set(fields)) > 1
            else types.NamedUniTuple(fields[0], len(fields), kind)
        )

    signature = (
        named(Source, size, size, size, real, real, size),
        named(Weights, *(size,) * 7),
        named(Target, *(size,) * 4),
        named(Shape, *(size,) * 5),
        named(Tile, *(size,) * 4),
        named(Routines, *(size,) * 3),
        types.UniTuple(size, 2),
        size,
        types.UniTuple(size, 5),
    )
    compiled.compile(signature)
    compiled.disable_compile()
    return compiled
