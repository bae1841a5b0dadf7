"""One group of queries against all keys: scores, online softmax and weighted sums, in the cache.

A group is a few register tiles of queries, a block some 128 keys. For each block the group's scores
are one small product (queries by packed keys), softmax's powers are taken over them where they lie,
in the first cache, and a second small product adds their share of the values to the group's sums.
The score matrix is never stored: only the largest score and the sum of powers of each query are
kept from block to block, and a larger score later on scales down what was summed before.

Shape letters: Tq, Tk queries and keys of one sequence, d and e the lengths of a key and a value.
"""

from __future__ import annotations

import math
from collections import namedtuple

import numpy as np

from tinytorch.native.attention.powers import HIGHEST, largest_of, raise_two
from tinytorch.native.codecache import jit
from tinytorch.native.gemm.microkernel import LANES, MR, NR
from tinytorch.native.pointers import at, call
from tinytorch.native.simd import like

# A group's rows of queries as the micro-kernel reads them.
Queries = namedtuple("Queries", "start row column")
# Keys and values packed into panels, their number, and the elements of a key and of a value.
Cache = namedtuple("Cache", "keys values count d e")
# What hides keys: `mask` (bytes, 0 hides) by its strides where `has_mask`; those beyond shift.
Hidden = namedtuple("Hidden", "mask row column has_mask shift")
# A group's scaled queries, scores (rows of `block`) and sums of values (rows of `width`), and for
# each row the number that its scores are taken below, and the sum of powers.
Room = namedtuple("Room", "queries scores block sums width tops totals")
# Addresses of the micro-kernels for scores and for sums of values, and of packing.
Routines = namedtuple("Routines", "score tile pack")

# NOTE: how far, in powers of two, scores may rise above what they are taken below before the sums
# are scaled anew: most blocks bring no larger score by much, and scaling would be a pass over sums.
_RISE = 8.0
_NONE = -math.inf


@jit
def step_for(rows, high):
    """Return the height of equal tiles, at most `high`, for so many rows."""
    tiles = (rows + high - 1) // high
    return (rows + tiles - 1) // tiles


@jit
def scale_queries(queries, rows, d, alpha, room):
    """Copy a group's queries, multiplied by alpha, into rows of `d`."""
    for i in range(rows):
        source, target = at(queries.start, i * queries.row), at(room.queries, i * d)
        if queries.column == 1:
            for k in range(d):
                target[k] = alpha * source[k]
        else:
            for k in range(d):
                target[k] = alpha * source[k * queries.column]


@jit
def _write_scores(rows, cache, first, count, seen, room, score):
    """Write queries @ keys for keys first … first + count; the first row sees `seen` of these."""
    wide = NR(room.tops[0])
    step = step_for(rows, MR(room.tops[0]))
    whole = rows // step
    for j in range(0, count, wide):
        panel = at(cache.keys, (first + j) * cache.d)
        # Tiles of which no row sees key j are left out.
        i = max(0, j + 1 - seen) // step
        if i < whole:
            _score(i * step, j, step, whole - i, cache.d, panel, room, score)
        if whole * step < rows:
            _score(whole * step, j, rows - whole * step, 1, cache.d, panel, room, score)


@jit
def _score(i, j, high, tiles, d, panel, room, score):
    queries, scores = at(room.queries, i * d), at(room.scores, i * room.block + j)
    call(score, high, tiles, queries, d, 1, panel, d, scores, room.block)


@jit
def hide(scores, mask, column, count):
    """Make scores −inf where the mask is 0."""
    if column == 1:
        for j in range(count):
            scores[j] = scores[j] if mask[j] != 0 else like(scores[j], _NONE)
    else:
        for j in range(count):
            if mask[j * column] == 0:
                scores[j] = like(scores[j], _NONE)


@jit
def _scale(row, width, factor):
    for j in range(width):
        row[j] *= factor


@jit
def soften_row(i, scores, count, room):
    """Turn a row of `count` scores into powers, and note its top and total."""
    largest = largest_of(scores, count)
    top = room.tops[i]
    if largest > top + like(top, _RISE):
        higher = np.ceil(largest)
        if top > like(top, _NONE):
            factor = like(top, 2.0 ** (top - higher))
            room.totals[i] *= factor
            _scale(at(room.sums, i * room.width), room.width, factor)
        room.tops[i] = top = higher
    if top == like(top, _NONE):
        top = like(top, 0.0)
    elif not abs(top) <= like(top, HIGHEST):
        for j in range(count):
            scores[j] -= top
        top = like(top, 0.0)
    room.totals[i] += raise_two(scores, count, top)


@jit
def _soften(i0, rows, first, count, seen, hidden, room):
    """Turn the scores of `rows` rows from i0 into powers; row i sees seen + i of `count` keys."""
    wide = NR(room.tops[0])
    last = min(count, seen + i0 + rows - 1)
    padded = (last + wide - 1) // wide * wide
    for i in range(i0, i0 + rows):
        scores = at(room.scores, i * room.block)
        own = min(count, max(seen + i, 0))
        for j in range(own, padded):
            scores[j] = like(scores[j], _NONE)
        if hidden.has_mask != 0:
            start = i * hidden.row + first * hidden.column
            hide(scores, at(hidden.mask, start), hidden.column, own)
        soften_row(i, scores, padded, room)
    return last


@jit
def _add_values(i0, rows, cache, first, count, room, keep, tile):
    """Add powers @ values, of `count` keys, to the sums of `rows` rows from i0."""
    one = like(keep, 1.0)
    wide, lanes = NR(one), LANES(one)
    for c in range(0, cache.e, wide):
        vectors = min((cache.e - c + lanes - 1) // lanes, wide // lanes)
        call(
            tile,
            rows,
            vectors,
            at(room.scores, i0 * room.block),
            room.block,
            1,
            at(cache.values, c * cache.count + first * wide),
            wide,
            count,
            at(room.sums, i0 * room.width + c),
            room.width,
            one,
            keep,
        )


@jit
def attend(rows, cache, hidden, room, routines):
    """Leave in `room` the sums, tops and totals of its `rows` queries over all their keys.

    Row i of the group sees keys 0 … i + shift, and of those what the mask keeps.
    """
    zero = like(room.tops[0], 0.0)
    step = step_for(rows, MR(zero))
    for i in range(rows):
        room.tops[i] = like(zero, _NONE)
        room.totals[i] = zero
    seen_by_last = min(cache.count, max(0, rows + hidden.shift))
    if seen_by_last == 0 or hidden.shift < 0:
        for k in range(rows * room.width):
            room.sums[k] = zero
    for first in range(0, seen_by_last, room.block):
        count = min(room.block, seen_by_last - first)
        seen = min(hidden.shift + 1 - first, count)
        _write_scores(rows, cache, first, count, seen, room, routines.score)
        keep = like(zero, 0.0 if first == 0 and hidden.shift >= 0 else 1.0)
        for i in range(0, rows, step):
            high = min(step, rows - i)
            if seen + i + high - 1 <= 0:
                continue
            depth = _soften(i, high, first, count, seen, hidden, room)
            _add_values(i, high, cache, first, depth, room, keep, routines.tile)


@jit
def finish(rows, e, room, out, out_row, out_column, logsumexp, has_logsumexp):
    """Write the group's rows of the output, and the logarithms of their sums where wanted."""
    for i in range(rows):
        total = room.totals[i]
        one = like(total, 1.0)
        scale = one / total if total != like(total, 0.0) else like(total, 0.0)
        sums, row = at(room.sums, i * room.width), at(out, i * out_row)
        if out_column == 1:
            for j in range(e):
                row[j] = scale * sums[j]
        else:
            for j in range(e):
                row[j * out_column] = scale * sums[j]
        if has_logsumexp != 0:
            base = math.log(2.0)
            logsumexp[i] = like(total, (room.tops[i] + math.log2(total)) * base)
