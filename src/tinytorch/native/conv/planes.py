"""Images laid out so that every element of every patch is one step from its neighbour's.

An image gets its border of zeros, and a stride of s is undone: rows (and columns) that are s apart
come to lie together, one plane for each remainder. Element (c, i, j) of the patch of pixel (y, x)
is then `offset[c, i, j] + y * columns + x`: the patch matrix is there, and was never written.
"""

from __future__ import annotations

from tinytorch.native.codecache import jit
from tinytorch.native.conv.fields import (
    CHANNEL,
    COLUMN,
    HEIGHT,
    IMAGE,
    LEFT,
    PHASES_X,
    PHASES_Y,
    PLANE_COLUMNS,
    PLANE_ROWS,
    PLANES,
    ROW,
    SOURCE,
    STEP_X,
    STEP_Y,
    TOP,
    WIDTH,
)
from tinytorch.native.conv.places import placed
from tinytorch.native.gemm.microkernel import NR
from tinytorch.native.pointers import at


@jit
def _zero(target, first, last):
    for i in range(first, last):
        target[i] = 0


@jit
def _row(source, step, target, first, last):
    """Write target[first:last] from every `step`-th element of the source."""
    if step == 1:
        for i in range(first, last):
            target[i] = source[i]
    elif step == 2:
        for i in range(first, last):
            target[i] = source[i * 2]
    else:
        for i in range(first, last):
            target[i] = source[i * step]


@jit
def _plane(n, source, a, b, rows, target):
    """Lay out some rows of one channel's plane of remainders (a, b)."""
    columns = n[PLANE_COLUMNS]
    begin = min(max(0, -((b - n[LEFT]) // n[STEP_X])), columns)
    end = max(begin, min(columns, (n[WIDTH] - 1 + n[LEFT] - b) // n[STEP_X] + 1))
    start = (b - n[LEFT]) * n[COLUMN]
    for q in range(rows[0], rows[1]):
        y = q * n[STEP_Y] + a - n[TOP]
        row = at(target, q * columns)
        if y < 0 or y >= n[HEIGHT]:
            _zero(row, 0, columns)
        else:
            _zero(row, 0, begin)
            _row(at(source, y * n[ROW] + start), n[STEP_X] * n[COLUMN], row, begin, end)
            _zero(row, end, columns)


@jit
def lay_out(n, first, count, channels, rows, target):
    """Lay out `count` images from the `first` on, and a little room of zeros behind the last.

    `channels` and `rows` are the first to be laid out and the one behind the last; the others' room
    is left alone.
    """
    whole = placed(target, n[SOURCE])
    plane = n[PLANE_ROWS] * n[PLANE_COLUMNS]
    for i in range(count):
        place = at(target, i * n[PLANES] + channels[0] * n[PHASES_Y] * n[PHASES_X] * plane)
        for c in range(channels[0], channels[1]):
            source = at(whole, (first + i) * n[IMAGE] + c * n[CHANNEL])
            for a in range(n[PHASES_Y]):
                for b in range(n[PHASES_X]):
                    _plane(n, source, a, b, rows, place)
                    place = at(place, plane)
        if i + 1 == count:
            _zero(place, 0, 2 * NR(target[0]))
