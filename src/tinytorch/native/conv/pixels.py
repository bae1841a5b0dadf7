"""Results for every pixel of the output: weights times patches, block by block.

out[o, pixel] = sum over k of weights[o, k] * patch[k, pixel] (+ bias[o]). Patches are packed block
by block, weights once a share, or with each block where they are many; the bias is one step more of
the sum, with ones for a patch. A tile that lies in one image is written where it belongs at once;
others are dealt out run by run.

Letters: i counts outputs (rows), j pixels (columns), k elements of a patch.
"""

from __future__ import annotations

from tinytorch.native.codecache import jit
from tinytorch.native.conv.direct import direct_tile
from tinytorch.native.conv.fields import (
    BATCH,
    BIAS,
    CHANNELS,
    DEPTH,
    DIRECT,
    GRID_COLUMNS,
    GRID_ROWS,
    GROUP,
    IN_PLACE,
    OFFSETS,
    OTHER,
    OTHER_OFFSETS,
    OTHER_ROW,
    OUT,
    OUT_CHANNEL,
    OUT_COLUMN,
    OUT_IMAGE,
    OUT_ROW,
    OUTPUTS,
    PACK,
    PACKS_OFTEN,
    PANELS,
    PATCH,
    PIXEL_COLUMNS,
    PIXEL_ROWS,
    PLANE_COLUMNS,
    PLANE_ROWS,
    PLANES,
    RELU,
    ROOM,
    ROOM_A,
    ROOM_B,
    ROOM_SHARE,
    ROOM_TABLE,
    ROOM_TILE,
    SOURCE,
    TILE,
)
from tinytorch.native.conv.panels import HEAD, RUN, describe, pack_panel
from tinytorch.native.conv.places import placed
from tinytorch.native.conv.planes import lay_out
from tinytorch.native.gemm.microkernel import LANES, MR, NR
from tinytorch.native.pointers import at, call
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
def _pack_weights(n, i, rows, k, depth, panel):
    """Pack `rows` rows from the i-th on, `depth` steps from the k-th on, as one panel."""
    high = MR(panel[0])
    real = min(depth, n[PATCH] - k)
    if n[OTHER_OFFSETS] != 0:
        _gather_weights(n, i, rows, k, real, panel)
    else:
        start = at(placed(panel, n[OTHER]), i * n[OTHER_ROW] + k)
        call(n[PACK], start, n[OTHER_ROW], 1, rows, real, panel, 0)
    if real < depth:
        bias = at(placed(panel, n[BIAS]), i)
        for r in range(rows):
            panel[real * high + r] = bias[r]


@jit
def _pack_all_weights(n, first, last, room):
    """Pack rows `first` to `last`, one block of depth after the other."""
    high = MR(room[0])
    tall = (last - first + high - 1) // high * high
    for k in range(0, _steps(n), n[DEPTH]):
        depth = min(n[DEPTH], _steps(n) - k)
        for i in range(first, last, high):
            panel = at(room, k * tall + (i - first) * depth)
            _pack_weights(n, i, min(high, last - i), k, depth, panel)


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
def _block(n, a, b, rows, panels, tables, tile, out, k, depth):
    """Multiply weights by packed panels into the images at `out`.

    `rows` are the first and the one behind the last; `a` holds them packed, or one panel's room.
    """
    high, wide = MR(tile[0]), NR(tile[0])
    first, last = rows
    stride = HEAD + RUN * wide
    for i in range(first, last, high):
        count = min(high, last - i)
        panel = at(a, (i - first) * depth)
        if n[PACKS_OFTEN] != 0:
            panel = a
            _pack_weights(n, i, count, k, depth, panel)
        place = at(out, i * n[OUT_CHANNEL])
        for p in range(panels):
            right = at(b, p * wide * depth)
            _tile(n, panel, right, place, count, at(tables, p * stride), tile, k, depth)


@jit
def _panels(n, planes, begin, end, pixels, rows, room, out):
    """Compute panels `begin` to `end` of a group of `pixels` pixels, for some rows."""
    wide, high = NR(planes[0]), MR(planes[0])
    a, b = placed(planes, room + n[ROOM_A]), placed(planes, room + n[ROOM_B])
    tile, tables = placed(planes, room + n[ROOM_TILE]), placed(n, room + n[ROOM_TABLE])
    stride = HEAD + RUN * wide
    tall = (rows[1] - rows[0] + high - 1) // high * high
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
            packed = a if n[PACKS_OFTEN] != 0 else at(a, k * tall)
            _block(n, packed, b, rows, count, tables, tile, out, k, depth)


@jit
def _rows_in_place(n, planes, first, last, rows, room, out):
    """Compute pixels `first` to `last` of a group, with one tile of outputs and nothing packed."""
    wide, lanes = NR(planes[0]), LANES(planes[0])
    a, tile = placed(planes, room + n[ROOM_A]), placed(planes, room + n[ROOM_TILE])
    offsets, table = placed(n, n[OFFSETS]), placed(n, room + n[ROOM_TABLE])
    count, cuts = rows[1] - rows[0], n[RELU] != 0
    out = at(out, rows[0] * n[OUT_CHANNEL])
    j = first
    while j < last:
        x = j % n[PIXEL_COLUMNS]
        length = min(wide, n[PIXEL_COLUMNS] - x, last - j)
        describe(n, planes, j, length, table)
        source = at(planes, table[HEAD])
        vectors = (length + lanes - 1) // lanes
        if vectors * lanes == length and n[OUT_COLUMN] == 1:
            place = at(out, table[HEAD + 2])
            direct_tile(count, vectors, a, source, offsets, n[PATCH], place, n[OUT_CHANNEL])
            if cuts:
                _relu(place, n[OUT_CHANNEL], count, length)
        else:
            direct_tile(count, vectors, a, source, offsets, n[PATCH], tile, wide)
            _deal_out(n, tile, count, table, out, False, cuts)
        j += length


@jit
def _lay_out(n, image, begin, end, planes):
    """Lay out what the pixels `begin` to `end` of a group need, which begins with `image`."""
    pixels = n[PIXEL_ROWS] * n[PIXEL_COLUMNS]
    first, last = begin // pixels, (end - 1) // pixels
    rows = 0, n[PLANE_ROWS]
    if first == last:
        across = n[PLANE_COLUMNS] if n[PIXEL_ROWS] == 1 else n[PIXEL_COLUMNS]
        top = (begin - first * pixels) // across
        bottom = (end - 1 - first * pixels) // across
        rows = top, bottom + 1 + n[PLANE_ROWS] - pixels // across
    target = at(planes, first * n[PLANES])
    lay_out(n, image + first, last - first + 1, (0, n[CHANNELS]), rows, target)


@jit
def _no_sum(n, rows, kind):
    """Write zeros to the pixels that no element of the kernel meets."""
    whole = placed(kind, n[OUT])
    for image in range(n[BATCH]):
        for i in range(rows[0], rows[1]):
            for y in range(n[PIXEL_ROWS]):
                place = at(whole, image * n[OUT_IMAGE] + i * n[OUT_CHANNEL] + y * n[OUT_ROW])
                for x in range(n[PIXEL_COLUMNS]):
                    place[x * n[OUT_COLUMN]] = 0


@jit
def _part(number, tiles, parts, size, limit):
    """Return the rows of the `number`-th of equal parts, each of whole tiles."""
    return number * tiles // parts * size, min(limit, (number + 1) * tiles // parts * size)


def share(n, number, kind):
    """Compute one share of the outputs; `kind` is any address of the data's type."""
    wide, high = NR(kind[0]), MR(kind[0])
    across = n[GRID_COLUMNS]
    gi, gj = number // across, number % across
    if _steps(n) == 0:
        parts = n[GRID_ROWS] * across
        _no_sum(n, _part(number, n[OUTPUTS], parts, 1, n[OUTPUTS]), kind)
        return
    rows = _part(gi, (n[OUTPUTS] + high - 1) // high, n[GRID_ROWS], high, n[OUTPUTS])
    pixels = n[PIXEL_ROWS] * n[PIXEL_COLUMNS]
    of_group = (n[GROUP] * pixels + wide - 1) // wide
    groups = (n[BATCH] + n[GROUP] - 1) // n[GROUP]
    rest = (n[BATCH] - (groups - 1) * n[GROUP]) * pixels
    total = (groups - 1) * of_group + (rest + wide - 1) // wide
    p, end = gj * total // across, (gj + 1) * total // across
    if p >= end or rows[0] >= rows[1]:
        return
    room = n[ROOM] + number * n[ROOM_SHARE]
    if n[DIRECT] != 0:
        # The step behind the last is added to the sums: the bias, or zeros.
        panel = placed(kind, room + n[ROOM_A])
        for r in range(high):
            panel[n[PATCH] * high + r] = 0
        _pack_weights(n, rows[0], rows[1] - rows[0], 0, _steps(n), panel)
    elif n[PACKS_OFTEN] == 0:
        _pack_all_weights(n, rows[0], rows[1], placed(kind, room + n[ROOM_A]))
    while p < end:
        group = p // of_group
        image = group * n[GROUP]
        inside = min(n[GROUP], n[BATCH] - image) * pixels
        begin, stop = p - group * of_group, min(end - group * of_group, (inside + wide - 1) // wide)
        planes = placed(kind, n[SOURCE])
        if n[IN_PLACE] == 0:
            planes = placed(kind, room)
            _lay_out(n, image, begin * wide, min(stop * wide, inside), planes)
        out = at(placed(kind, n[OUT]), image * n[OUT_IMAGE])
        if n[DIRECT] != 0:
            stop_pixel = min(stop * wide, inside)
            _rows_in_place(n, planes, begin * wide, stop_pixel, rows, room, out)
        else:
            _panels(n, planes, begin, stop, inside, rows, room, out)
        p = group * of_group + stop
