"""Results for every weight: gradients of the output times patches, summed over all pixels.

dW[o, j] = sum over pixels of dY[o, pixel] * patch[j, pixel]. A share takes some outputs and some
elements j of the patch, and goes through the images: it lays out the channels that it needs, packs
their patches transposed, and adds up in dW, which stays in a near cache meanwhile. Where there are
few weights, the batch is cut into chunks instead, each with a dW of its own.

Letters: i counts outputs (rows), j elements of a patch (columns), k pixels.
"""

from __future__ import annotations

from tinytorch.native.codecache import jit
from tinytorch.native.conv.fields import (
    BATCH,
    CHANNELS,
    CHUNK_SIZE,
    CHUNKS,
    DEPTH,
    GRID_COLUMNS,
    GRID_ROWS,
    GROUP,
    IN_PLACE,
    OTHER,
    OTHER_IMAGE,
    OTHER_ROW,
    OUT,
    OUT_CHANNEL,
    OUTPUTS,
    PACK,
    PANELS,
    PATCH,
    PIXEL_COLUMNS,
    PIXEL_ROWS,
    PLANE_ROWS,
    PLANES,
    ROOM,
    ROOM_A,
    ROOM_B,
    ROOM_SHARE,
    ROOM_TABLE,
    ROOM_TILE,
    SOURCE,
    TILE,
)
from tinytorch.native.conv.panels import describe, pack_elements
from tinytorch.native.conv.places import placed
from tinytorch.native.conv.planes import lay_out
from tinytorch.native.gemm.microkernel import LANES, MR, NR
from tinytorch.native.pointers import at, call
from tinytorch.native.simd import like


@jit
def _pack_gradients(n, source, first, depth, i0, i1, room):
    """Pack outputs i0 to i1 by pixels from the `first` on, which lie in several images."""
    high = MR(room[0])
    pixels = n[PIXEL_ROWS] * n[PIXEL_COLUMNS]
    for i in range(i0, i1, high):
        rows, done = min(high, i1 - i), 0
        panel = at(room, (i - i0) * depth)
        while done < depth:
            image = (first + done) // pixels
            k = first + done - image * pixels
            length = min(pixels - k, depth - done)
            start = at(source, image * n[OTHER_IMAGE] + i * n[OTHER_ROW] + k)
            call(n[PACK], start, n[OTHER_ROW], 1, rows, length, at(panel, done * high), 0)
            done += length


@jit
def _tile(n, a, a_row, a_step, b, out, rows, width, tile, depth, adds):
    one, zero = like(tile[0], 1.0), like(tile[0], 0.0)
    lanes, wide = LANES(one), NR(one)
    vectors = (width + lanes - 1) // lanes
    row = n[OUT_CHANNEL]
    if vectors * lanes == width:
        keep = one if adds else zero
        call(n[TILE], rows, vectors, a, a_row, a_step, b, wide, depth, out, row, one, keep)
        return
    call(n[TILE], rows, vectors, a, a_row, a_step, b, wide, depth, tile, wide, one, zero)
    for i in range(rows):
        for j in range(width):
            before = out[i * row + j] if adds else zero
            out[i * row + j] = before + tile[i * wide + j]


@jit
def _block(n, planes, first, depth, columns, i0, i1, room, out, adds):
    """Add `depth` pixels, from the `first` of the batch on, to some columns of dW."""
    high, wide = MR(planes[0]), NR(planes[0])
    a, b = placed(planes, room + n[ROOM_A]), placed(planes, room + n[ROOM_B])
    tile, table = placed(planes, room + n[ROOM_TILE]), placed(n, room + n[ROOM_TABLE])
    gradients, pixels = placed(planes, n[OTHER]), n[PIXEL_ROWS] * n[PIXEL_COLUMNS]
    describe(n, planes, first, depth, table)
    image = first // pixels
    in_one = (first + depth - 1) // pixels == image
    if not in_one:
        _pack_gradients(n, gradients, first, depth, i0, i1, a)
    j0, j1 = columns
    for j in range(j0, j1, wide):
        pack_elements(n, planes, j, table, at(b, (j - j0) * depth))
    for j in range(j0, j1, wide):
        panel = at(b, (j - j0) * depth)
        for i in range(i0, i1, high):
            start, row, step = at(a, (i - i0) * depth), 1, high
            if in_one:
                k = image * n[OTHER_IMAGE] + i * n[OTHER_ROW] + first - image * pixels
                start, row, step = at(gradients, k), n[OTHER_ROW], 1
            place = at(out, i * n[OUT_CHANNEL] + j)
            rows, width = min(high, i1 - i), min(wide, j1 - j)
            _tile(n, start, row, step, panel, place, rows, width, tile, depth, adds)


@jit
def _columns(n, kind, images, columns, i0, i1, room, out):
    """Write columns j0 to j1, rows i0 to i1, of dW for some images."""
    pixels = n[PIXEL_ROWS] * n[PIXEL_COLUMNS]
    of_channel = n[PATCH] // n[CHANNELS]
    channels = columns[0] // of_channel, (columns[1] - 1) // of_channel + 1
    image = images[0]
    while image < images[1]:
        count = min(n[GROUP], images[1] - image)
        planes = placed(kind, n[SOURCE])
        if n[IN_PLACE] == 0:
            planes = at(placed(kind, room), -image * n[PLANES])
            lay_out(n, image, count, channels, (0, n[PLANE_ROWS]), placed(kind, room))
        end = (image + count) * pixels
        for k in range(image * pixels, end, n[DEPTH]):
            adds = k > images[0] * pixels
            _block(n, planes, k, min(n[DEPTH], end - k), columns, i0, i1, room, out, adds)
        image += count


@jit
def _rectangle(n, kind, images, i0, i1, j0, j1, room, out):
    step = n[PANELS] * NR(kind[0])
    for j in range(j0, j1, step):
        _columns(n, kind, images, (j, min(j1, j + step)), i0, i1, room, out)


def share(n, number, kind):
    """Compute one share of the weights' gradients; `kind` is any address of the data's type."""
    wide, high = NR(kind[0]), MR(kind[0])
    room = n[ROOM] + number * n[ROOM_SHARE]
    out = placed(kind, n[OUT])
    if n[CHUNKS] > 1:
        shares = n[GRID_ROWS] * n[GRID_COLUMNS]
        for chunk in range(number * n[CHUNKS] // shares, (number + 1) * n[CHUNKS] // shares):
            images = chunk * n[BATCH] // n[CHUNKS], (chunk + 1) * n[BATCH] // n[CHUNKS]
            place = at(out, chunk * n[CHUNK_SIZE])
            _rectangle(n, kind, images, 0, n[OUTPUTS], 0, n[PATCH], room, place)
        return
    across, down = n[GRID_COLUMNS], n[GRID_ROWS]
    gi, gj = number // across, number % across
    tiles, panels = (n[OUTPUTS] + high - 1) // high, (n[PATCH] + wide - 1) // wide
    i0, i1 = gi * tiles // down * high, min(n[OUTPUTS], (gi + 1) * tiles // down * high)
    j0, j1 = gj * panels // across * wide, min(n[PATCH], (gj + 1) * panels // across * wide)
    if i0 < i1 and j0 < j1:
        _rectangle(n, kind, (0, n[BATCH]), i0, i1, j0, j1, room, out)
