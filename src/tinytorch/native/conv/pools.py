"""Pooling: windows of images reduced to one number each, and gradients taken back.

A row of windows is first reduced down its columns, by whole vectors, then along the row. Planes (an
image's channel each) are dealt out to threads; the table of numbers is this file's own.
"""

from __future__ import annotations

from tinytorch.native.codecache import jit
from tinytorch.native.conv.places import placed
from tinytorch.native.pointers import at
from tinytorch.native.simd import like, select

FIELDS = (
    "X", "DY", "OUT", "COUNT", "SHARES", "HEIGHT", "WIDTH", "KH", "KW", "SH", "SW", "PH", "PW",
    "OH", "OW", "ROOM", "ROOM_SHARE",
)  # fmt: skip
(
    X, DY, OUT, COUNT, SHARES, HEIGHT, WIDTH, KH, KW, SH, SW, PH, PW, OH, OW, ROOM, ROOM_SHARE,
) = range(len(FIELDS))  # fmt: skip


@jit
def _larger(a, b):
    """Return the larger; b where it is NaN, and a where that is."""
    return select((b > a) | (b != b), b, a)


@jit
def _raise_to(target, source, step, first, last):
    if step == 1:
        for i in range(first, last):
            target[i] = _larger(target[i], source[i])
    elif step == 2:
        for i in range(first, last):
            target[i] = _larger(target[i], source[2 * i])
    else:
        for i in range(first, last):
            target[i] = _larger(target[i], source[step * i])


@jit
def _add_to(target, source, step, first, last):
    if step == 1:
        for i in range(first, last):
            target[i] += source[i]
    elif step == 2:
        for i in range(first, last):
            target[i] += source[2 * i]
    else:
        for i in range(first, last):
            target[i] += source[step * i]


@jit
def _spread_to(target, source, step, first, last):
    """Add source[i] to every `step`-th of the target."""
    if step == 1:
        for i in range(first, last):
            target[i] += source[i]
    else:
        for i in range(first, last):
            target[step * i] += source[i]


@jit
def _fill(target, count, value):
    for i in range(count):
        target[i] = value


@jit
def _met(n, j):
    """Return the windows along a row whose element j is a pixel: the first, the one behind."""
    shift = j - n[PW]
    first = max(0, -(shift // n[SW]))
    return first, max(first, min(n[OW], (n[WIDTH] - 1 - shift) // n[SW] + 1))


@jit
def _planes(n, number):
    return number * n[COUNT] // n[SHARES], (number + 1) * n[COUNT] // n[SHARES]


@jit
def _rows(n, y):
    """Return the rows of pixels that the windows of row y meet."""
    top = y * n[SH] - n[PH]
    return max(0, top), min(n[HEIGHT], top + n[KH])


@jit
def _forward(n, number, kind, is_max):
    first, last = _planes(n, number)
    column = placed(kind, n[ROOM] + number * n[ROOM_SHARE])
    start = like(kind[0], 0.0)
    if is_max:
        start = like(kind[0], -1.0) / start
    scale = like(kind[0], 1.0) / like(kind[0], n[KH] * n[KW])
    for plane in range(first, last):
        image = at(placed(kind, n[X]), plane * n[HEIGHT] * n[WIDTH])
        out = at(placed(kind, n[OUT]), plane * n[OH] * n[OW])
        for y in range(n[OH]):
            row = at(out, y * n[OW])
            top, bottom = _rows(n, y)
            _fill(column, n[WIDTH], start)
            _fill(row, n[OW], start)
            for i in range(top, bottom):
                if is_max:
                    _raise_to(column, at(image, i * n[WIDTH]), 1, 0, n[WIDTH])
                else:
                    _add_to(column, at(image, i * n[WIDTH]), 1, 0, n[WIDTH])
            for j in range(n[KW]):
                begin, end = _met(n, j)
                if is_max:
                    _raise_to(row, at(column, j - n[PW]), n[SW], begin, end)
                else:
                    _add_to(row, at(column, j - n[PW]), n[SW], begin, end)
            if not is_max:
                for x in range(n[OW]):
                    row[x] *= scale


def largest(n, number, kind):
    """Compute one share of max_pool2d; `kind` is any address of the data's type."""
    _forward(n, number, kind, True)


def mean(n, number, kind):
    """Compute one share of avg_pool2d."""
    _forward(n, number, kind, False)


@jit
def _place_of_largest(n, image, y, x):
    """Return the place in an image of the first largest pixel of a window."""
    top, bottom = _rows(n, y)
    left = x * n[SW] - n[PW]
    begin, end = max(0, left), min(n[WIDTH], left + n[KW])
    best = top * n[WIDTH] + begin
    most = image[best]
    for i in range(top, bottom):
        for j in range(begin, end):
            place = i * n[WIDTH] + j
            value = image[place]
            better = (value > most) | ((value != value) & (most == most))
            most = select(better, value, most)
            best = place if better else best
    return best


def largest_gradient(n, number, kind):
    """Compute one share of max_pool2d_gradient."""
    first, last = _planes(n, number)
    for plane in range(first, last):
        image = at(placed(kind, n[X]), plane * n[HEIGHT] * n[WIDTH])
        out = at(placed(kind, n[OUT]), plane * n[HEIGHT] * n[WIDTH])
        dy = at(placed(kind, n[DY]), plane * n[OH] * n[OW])
        _fill(out, n[HEIGHT] * n[WIDTH], like(kind[0], 0.0))
        for y in range(n[OH]):
            for x in range(n[OW]):
                out[_place_of_largest(n, image, y, x)] += dy[y * n[OW] + x]


def mean_gradient(n, number, kind):
    """Compute one share of avg_pool2d_gradient."""
    first, last = _planes(n, number)
    scale = like(kind[0], 1.0) / like(kind[0], n[KH] * n[KW])
    part = placed(kind, n[ROOM] + number * n[ROOM_SHARE])
    for plane in range(first, last):
        out = at(placed(kind, n[OUT]), plane * n[HEIGHT] * n[WIDTH])
        dy = at(placed(kind, n[DY]), plane * n[OH] * n[OW])
        _fill(out, n[HEIGHT] * n[WIDTH], like(kind[0], 0.0))
        for y in range(n[OH]):
            for x in range(n[OW]):
                part[x] = dy[y * n[OW] + x] * scale
            top, bottom = _rows(n, y)
            for i in range(top, bottom):
                for j in range(n[KW]):
                    begin, end = _met(n, j)
                    row = at(out, i * n[WIDTH] + j - n[PW])
                    _spread_to(row, part, n[SW], begin, end)
