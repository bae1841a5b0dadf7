"""The loops around the tile: activations that stay in the second cache, panels in the first.

Each share has its own rows and columns of the output: it prepares its rows block by block, and
multiplies each block by all of its panels. Every output is one tile's sum over the whole depth, so
it is the same for any number of shares.
"""

from __future__ import annotations

import array
import functools
from collections import namedtuple
from typing import Any

from tinytorch.native.codecache import jit, prange
from tinytorch.native.int8.packing import spread_panel
from tinytorch.native.pointers import ask_to_write, call, floats_at, longs_at, types

# Everything is an integer: addresses, and counts in elements unless the name says bytes.
Source = namedtuple("Source", "start row item_bytes top")
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
# How many shares of rows and of columns there are, and where their room is: the first one's, the
# bytes of each, and where in it the parts but the first begin.
Grid = namedtuple("Grid", "down along")
Rooms = namedtuple("Rooms", "start bytes scales zeros sums panel")


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
def _share(rows, columns, source, static, weights, target, shape, tile, routines, room):
    for first in range(rows[0], rows[1], tile.block_rows):
        count = min(tile.block_rows, rows[1] - first)
        call(
            routines.prepare,
            source.start + first * source.row * source.item_bytes,
            source.row,
            count,
            shape.K,
            shape.padded,
            static[0],
            static[1],
            source.top,
            room.codes,
            room.scales,
            room.zeros,
        )
        for j in range(columns[0], columns[1], tile.columns):
            _rows_of_tiles(first, count, j, weights, target, shape, tile, routines, room)


@jit
def _numbered_share(address, share, static):
    """Compute a share of the product whose numbers are at an address, as `numbers_of` has them."""
    n = longs_at(address)
    source, target = Source(n[0], n[1], n[2], n[3]), Target(n[4], n[5], n[6], n[7])
    weights = Weights(n[8], n[9], n[10], n[11], n[12], n[13], n[14])
    shape, tile = Shape(n[15], n[16], n[17], n[18], n[19]), Tile(n[20], n[21], n[22], n[23])
    routines, grid = Routines(n[24], n[25], n[26]), Grid(n[27], n[28])
    rooms = Rooms(n[29], n[30], n[31], n[32], n[33], n[34])
    gi, gj = share // grid.along, share % grid.along
    high = (shape.M + tile.rows - 1) // tile.rows
    wide = (shape.N + tile.columns - 1) // tile.columns
    i0, i1 = gi * high // grid.down * tile.rows, (gi + 1) * high // grid.down * tile.rows
    j0, j1 = gj * wide // grid.along * tile.columns, (gj + 1) * wide // grid.along * tile.columns
    own = rooms.start + share * rooms.bytes
    _share(
        (i0, min(i1, shape.M)),
        (j0, min(j1, shape.N)),
        source,
        static,
        weights,
        target,
        shape,
        tile,
        routines,
        Room(own, own + rooms.scales, own + rooms.zeros, own + rooms.sums, own + rooms.panel),
    )


def _multiply(address, shares, scale, zero):
    """Compute a product in shares; scale and zero are what all rows' codes stand for, or 0."""
    if shares == 1:
        _numbered_share(address, 0, (scale, zero))
    else:
        for share in prange(shares):
            _numbered_share(address, share, (scale, zero))


def numbers_of(
    source: Source,
    target: Target,
    weights: Weights,
    shape: Shape,
    tile: Tile,
    routines: Routines,
    grid: Grid,
    rooms: Rooms,
) -> array.array[int]:
    """Return a product's numbers as compiled code reads them from memory.

    NOTE: to hand tuples over costs a look at each of their numbers: a sixth of a small call.
    """
    return array.array("q", (*source, *target, *weights, *shape, *tile, *routines, *grid, *rooms))


@functools.cache
def multiply() -> Any:
    """Return the compiled product: (address of the numbers, shares, scale, zero)."""
    compiled: Any = jit(parallel=True)(_multiply)
    compiled.compile((types.int64, types.int64, types.float64, types.float64))
    compiled.disable_compile()
    return compiled
