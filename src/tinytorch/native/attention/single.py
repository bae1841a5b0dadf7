"""One query against keys and values where they lie: what decoding with a cache does.

Each key and value is used once, so packing them would cost more than it brings: this is a walk over
memory, keys first and values second, a block at a time.
"""

from __future__ import annotations

import math

from tinytorch.native.attention.tiles import hide, soften_row
from tinytorch.native.codecache import REASSOCIATE, jit
from tinytorch.native.gemm.microkernel import NR
from tinytorch.native.pointers import at
from tinytorch.native.simd import like


@jit(flags=REASSOCIATE)
def _scores(query, keys, row, count, d, scores):
    """Write the products of one query with `count` keys, whose elements are neighbours."""
    for j in range(count):
        key = at(keys, j * row)
        total = like(query[0], 0.0)
        for k in range(d):
            total += query[k] * key[k]
        scores[j] = total


@jit
def _add_values(weights, values, row, count, e, sums):
    """Add `count` weighted values to the sums, four at a time: each sum is loaded and stored."""
    whole = count // 4 * 4
    for j in range(0, whole, 4):
        one, two = at(values, j * row), at(values, (j + 1) * row)
        three, four = at(values, (j + 2) * row), at(values, (j + 3) * row)
        a, b, c, d = weights[j], weights[j + 1], weights[j + 2], weights[j + 3]
        for k in range(e):
            sums[k] += (a * one[k] + b * two[k]) + (c * three[k] + d * four[k])
    for j in range(whole, count):
        value, weight = at(values, j * row), weights[j]
        for k in range(e):
            sums[k] += weight * value[k]


@jit
def attend_one(keys, values, count, sizes, hidden, room):
    """Leave in the first row of `room` what `attend` would, for its one query and `count` keys.

    keys and values are (start, row) each: addresses, and elements from one to the next.
    """
    d, e = sizes
    zero = like(room.tops[0], 0.0)
    wide = NR(zero)
    room.tops[0], room.totals[0] = like(zero, -math.inf), zero
    for k in range(room.width):
        room.sums[k] = zero
    for first in range(0, count, room.block):
        own = min(room.block, count - first)
        padded = (own + wide - 1) // wide * wide
        _scores(room.queries, at(keys[0], first * keys[1]), keys[1], own, d, room.scores)
        for j in range(own, padded):
            room.scores[j] = like(zero, -math.inf)
        if hidden.has_mask != 0:
            hide(room.scores, at(hidden.mask, first * hidden.column), hidden.column, own)
        soften_row(0, room.scores, padded, room)
        _add_values(room.scores, at(values[0], first * values[1]), values[1], own, e, room.sums)
