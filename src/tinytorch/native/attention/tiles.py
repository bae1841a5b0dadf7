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

from tinytorch.native.attention.powers import largest_of, raise_two
from tinytorch.native.codecache import jit
from tinytorch.native.gemm.microkernel import LANES, MR, NR
from tinytorch.native.gemm.pointers import at, call
from tinytorch.native.simd import like

# A group's rows of queries as the micro-kernel reads them.
Queries = namedtuple("Queries", "start row column")
# Keys and values packed into panels, their number, and the elements of a key and of a value.
Cache = namedtuple("Cache", "keys values count d e")
# What hides a key: `mask` (bytes, 0 hides) by its strides where `has_mask`; keys after query + shift.
Hidden = namedtuple("Hidden", "mask row column has_mask shift")
# A group's scores (rows of `block`), sums of values (rows of `width`), and for each row the number
# that its scores are taken below, and the sum of powers.
Room = namedtuple("Room", "scores block sums width tops totals")

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
def _write_scores(queries, rows, cache, first, count, seen, room, alpha, tile):
    """Write alpha * queries @ keys for keys first … first + count; `seen` of the first row's."""
    wide, lanes = NR(alpha), LANES(alpha)
    zero = like(alpha, 0.0)
    step = step_for(rows, MR(alpha))
    for j in range(0, count, wide):
        vectors = min((count - j + lanes - 1) // lanes, wide // lanes)
        panel = at(cache.keys, (first + j) * cache.d)
        for i in range(0, rows, step):
            high = min(step, rows - i)
            if seen + i + high - 1 < j + 1:
                continue  # all of this tile is hidden
            call(
                tile,
                high,
                vectors,
                at(queries.start, i * queries.row),
                queries.row,
                queries.column,
                panel,
                wide,
                cache.d,
                at(room.scores, i * room.block + j),
                room.block,
                alpha,
                zero,
            )


@jit
def _hide(scores, mask, column, count):
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
def _soften_row(i, scores, count, room):
    """Turn a row of `count` scores into powers, and note its top and total."""
    largest = largest_of(scores, count)
    top = room.tops[i]
    if largest > top + like(top, _RISE):
        if top > like(top, _NONE):
            factor = like(top, 2.0 ** (top - largest))
            room.totals[i] *= factor
            _scale(at(room.sums, i * room.width), room.width, factor)
        room.tops[i] = top = largest
    if top == like(top, _NONE):
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
            _hide(scores, at(hidden.mask, start), hidden.column, own)
        _soften_row(i, scores, padded, room)
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
def attend(queries, rows, cache, hidden, room, alpha, tile):
    """Leave in `room` the sums, tops and totals of a group of `rows` queries over all its keys.

    Row i of the group sees keys 0 … i + shift, and of those what the mask keeps.
    """
    step = step_for(rows, MR(alpha))
    for i in range(rows):
        room.tops[i] = like(alpha, _NONE)
        room.totals[i] = like(alpha, 0.0)
    seen_by_last = min(cache.count, max(0, rows + hidden.shift))
    if seen_by_last == 0 or hidden.shift < 0:
        for k in range(rows * room.width):
            room.sums[k] = like(alpha, 0.0)
    for first in range(0, seen_by_last, room.block):
        count = min(room.block, seen_by_last - first)
        seen = min(hidden.shift + 1 - first, count)
        _write_scores(queries, rows, cache, first, count, seen, room, alpha, tile)
        keep = like(alpha, 0.0 if first == 0 and hidden.shift >= 0 else 1.0)
        for i in range(0, rows, step):
            high = min(step, rows - i)
            if seen + i + high - 1 <= 0:
                continue
            depth = _soften(i, high, first, count, seen, hidden, room)
            _add_values(i, high, cache, first, depth, room, keep, tile)


@jit
def finish(rows, e, room, out, out_row, out_column, ends, has_ends):
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
        if has_ends != 0:
            base = math.log(2.0)
            ends[i] = like(total, (room.tops[i] + math.log2(total)) * base)
