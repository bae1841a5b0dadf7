"""Results for every pixel of the output: weights times patches, block by block.

out[o, pixel] = sum over k of weights[o, k] * patch[k, pixel] (+ bias[o]). Weights are packed once a
share, patches block by block; the bias is one step more of the sum, with ones for a patch. A tile
that lies in one image is written where it belongs at once; others are dealt out run by run.

Letters: i counts outputs (rows), j pixels (columns), k elements of a patch.
"""

from __future__ import annotations

from tinytorch.native.codecache import jit
from tinytorch.native.conv.fields import (
    BATCH,
    BIAS,
    DEPTH,
    GRID_COLUMNS,
    GRID_ROWS,
    GROUP,
    IN_PLACE,
    OTHER,
    OTHER_OFFSETS,
    OTHER_ROW,
    OUT,
    OUT_CHANNEL,
    OUT_COLUMN,
    OUT_IMAGE,
    OUTPUTS,
    PACK,
    PANELS,
    PATCH,
    PIXEL_COLUMNS,
    PIXEL_ROWS,
    PLANES,
    RELU,
    ROOM,
    ROOM_A,
    ROOM_B,
    ROOM_SHARE,
    ROOM_TABLE,
    ROOM_TILE,
    ROWS,
    SOURCE,
    TILE,
)
from tinytorch.native.conv.panels import HEAD, RUN, describe, pack_panel
from tinytorch.native.conv.places import placed
from tinytorch.native.conv.planes import lay_out
from tinytorch.native.gemm.microkernel import LANES, MR, NR
from tinytorch.native.gemm.pointers import at, call
from tinytorch.native.simd import like, select


@jit
def _steps(n):
    """Return the steps of the sum, the bias among them."""
    return n[PATCH] + (1 if n[BIAS] != 0 else 0)


@jit
def _gather_weights(n, i, rows, k, depth, target):
    high = MR(target[0])
    offsets = at(placed(n, n[OTHER_OFFSETS]), k)
    source = at(placed(target, n[OTHER]), i * n[OTHER_ROW])
    for step in range(depth):
        place = at(source, offsets[step])
        for r in range(rows):
            target[step * high + r] = place[r * n[OTHER_ROW]]


@jit
def _pack_weights(n, first, last, room):
    """Pack rows `first` to `last`, one block of depth after the other."""
    high = MR(room[0])
    tall = (last - first + high - 1) // high * high
    for k in range(0, _steps(n), n[DEPTH]):
        depth = min(n[DEPTH], _steps(n) - k)
        real = min(depth, n[PATCH] - k)
        for i in range(first, last, high):
            rows = min(high, last - i)
            panel = at(room, k * tall + (i - first) * depth)
            if n[OTHER_OFFSETS] != 0:
                _gather_weights(n, i, rows, k, real, panel)
            else:
                start = at(placed(room, n[OTHER]), i * n[OTHER_ROW] + k)
                call(n[PACK], start, n[OTHER_ROW], 1, rows, real, panel, 0)
            if real < depth:
                bias = at(placed(room, n[BIAS]), i)
                for r in range(rows):
                    panel[real * high + r] = bias[r]


@jit
def _relu(c, row, rows, width):
    for i in range(rows):
        for j in range(width):
            x = c[i * row + j]
            c[i * row + j] = select(x < like(x, 0.0), like(x, 0.0), x)  # a NaN stays


@jit
def _deal_out(n, tile, rows, table, out, adds, cuts):
    """Write a tile where its runs belong: on what is there if `adds`, no less than 0 if `cuts`."""
    wide = NR(tile[0])
    for r in range(table[0]):
        run = at(table, HEAD + r * RUN)
        for i in range(rows):
            place, values = at(out, run[2] + i * n[OUT_CHANNEL]), at(tile, i * wide + run[1])
            for j in range(run[3]):
                before = place[j * n[OUT_COLUMN]] if adds else like(values[j], 0.0)
                after, least = before + values[j], like(values[j], 0.0)
                place[j * n[OUT_COLUMN]] = select(cuts and after < least, least, after)


@jit
def _tile(n, a, b, out, rows, table, tile, k, depth):
    """Write one tile of outputs; `out` is the address of its first output in the group's images."""
    one, zero = like(tile[0], 1.0), like(tile[0], 0.0)
    lanes, wide = LANES(one), NR(one)
    last = at(table, HEAD + (table[0] - 1) * RUN)
    adds, is_last = k > 0, k + depth >= _steps(n)
    if table[1] != 0:
        place = at(out, table[HEAD + 2])
        keep = one if adds else zero
        call(
            n[TILE], rows, table[1], a, 1, MR(one), b, wide, depth, place, n[OUT_CHANNEL], one, keep
        )
        if is_last and n[RELU] != 0:
            _relu(place, n[OUT_CHANNEL], rows, table[1] * lanes)
    else:
        vectors = (last[1] + last[3] + lanes - 1) // lanes
        call(n[TILE], rows, vectors, a, 1, MR(one), b, wide, depth, tile, wide, one, zero)
        _deal_out(n, tile, rows, table, out, adds, is_last and n[RELU] != 0)


@jit
def _block(n, a, b, first, last, panels, stride, tables, tile, out, k, depth):
    """Multiply packed rows `first` to `last` by packed panels into the images at `out`."""
    high, wide = MR(tile[0]), NR(tile[0])
    for top in range(first, last, n[ROWS]):
        bottom = min(last, top + n[ROWS])
        for p in range(panels):
            for i in range(top, bottom, high):
                _tile(
                    n,
                    at(a, (i - first) * depth),
                    at(b, p * wide * depth),
                    at(out, i * n[OUT_CHANNEL]),
                    min(high, last - i),
                    at(tables, p * stride),
                    tile,
                    k,
                    depth,
                )


@jit
def _panels(n, planes, begin, end, pixels, i0, i1, room, out):
    """Compute panels `begin` to `end` of a group of `pixels` pixels, for rows i0 to i1."""
    wide, high = NR(planes[0]), MR(planes[0])
    a, b = placed(planes, room + n[ROOM_A]), placed(planes, room + n[ROOM_B])
    tile, tables = placed(planes, room + n[ROOM_TILE]), placed(n, room + n[ROOM_TABLE])
    stride = HEAD + RUN * wide
    tall = (i1 - i0 + high - 1) // high * high
    for block in range(begin, end, n[PANELS]):
        count = min(n[PANELS], end - block)
        for p in range(count):
            j = (block + p) * wide
            describe(n, planes, j, min(wide, pixels - j), at(tables, p * stride))
        for k in range(0, max(1, _steps(n)), n[DEPTH]):
            depth = min(n[DEPTH], _steps(n) - k)
            for p in range(count):
                place = at(b, p * wide * depth)
                pack_panel(n, planes, k, depth, at(tables, p * stride), place)
            _block(n, at(a, k * tall), b, i0, i1, count, stride, tables, tile, out, k, depth)


def share(n, number, kind):
    """Compute one share of the outputs; `kind` is any address of the data's type."""
    wide, high = NR(kind[0]), MR(kind[0])
    across = n[GRID_COLUMNS]
    gi, gj = number // across, number % across
    tiles = (n[OUTPUTS] + high - 1) // high
    i0 = gi * tiles // n[GRID_ROWS] * high
    i1 = min(n[OUTPUTS], (gi + 1) * tiles // n[GRID_ROWS] * high)
    pixels = n[PIXEL_ROWS] * n[PIXEL_COLUMNS]
    of_group = (n[GROUP] * pixels + wide - 1) // wide
    groups = (n[BATCH] + n[GROUP] - 1) // n[GROUP]
    rest = (n[BATCH] - (groups - 1) * n[GROUP]) * pixels
    total = (groups - 1) * of_group + (rest + wide - 1) // wide
    p, end = gj * total // across, (gj + 1) * total // across
    if p >= end or i0 >= i1:
        return
    room = n[ROOM] + number * n[ROOM_SHARE]
    _pack_weights(n, i0, i1, placed(kind, room + n[ROOM_A]))
    while p < end:
        group = p // of_group
        image = group * n[GROUP]
        inside = min(n[GROUP], n[BATCH] - image) * pixels
        begin, stop = p - group * of_group, min(end - group * of_group, (inside + wide - 1) // wide)
        planes = placed(kind, n[SOURCE])
        if n[IN_PLACE] == 0:
            planes = placed(kind, room)
            met = begin * wide // pixels, (min(stop * wide, inside) - 1) // pixels
            lay_out(n, image + met[0], met[1] - met[0] + 1, at(planes, met[0] * n[PLANES]))
        out = at(placed(kind, n[OUT]), image * n[OUT_IMAGE])
        _panels(n, planes, begin, stop, inside, i0, i1, room, out)
        p = group * of_group + stop
