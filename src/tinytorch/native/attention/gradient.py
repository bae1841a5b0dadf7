"""What attention's inputs change the output by: the scores made again, tile by tile, never stored.

With P the weights, D the products of each query's output with its gradient, summed, and what each
tile of scores gives at once (for scores in units of `scale`):

    dv += Pᵀ dout,  dS = P (dout vᵀ - D),  dq += scale dS k,  dk += scale dSᵀ q

five products for the forward's two; P comes from the scores and the logarithms of their sums, which
the forward kept. A job's keys and values are packed once, and their gradients summed beside them;
one thread does a whole job, so results don't depend on the number of threads.

Shape letters: Tq, Tk queries and keys of one sequence, d and e the lengths of a key and a value.
"""

from __future__ import annotations

import math
from collections import namedtuple

import numpy as np

from tinytorch.native.attention.powers import HIGHEST, raise_two
from tinytorch.native.attention.tiles import hide, step_for
from tinytorch.native.codecache import jit
from tinytorch.native.gemm.microkernel import LANES, MR, NR
from tinytorch.native.pointers import at, call
from tinytorch.native.simd import like

# The rooms of a job: keys and values packed to be multiplied by queries, keys packed to be summed,
# sums of the gradients of keys and values (rows of d and e, rounded up to `d_wide` and `e_wide`);
# and of a group of queries: scaled queries, gradients of outputs, scores, gradients of scores (rows
# of `block`), sums of gradients of queries; for each query the power its weights are taken below,
# and D.
Sums = namedtuple(
    "Sums",
    "keys values key_rows dk dv queries douts scores dscores dq tops deltas "
    "block d d_wide e e_wide",
)
# Rows of a 2-D array: the first one's address, the elements from row to row and column to column.
Rows = namedtuple("Rows", "start row column")


@jit
def _copy_row(source, column, target, count, wide, factor):
    """Copy `count` numbers times a factor, and zeros up to `wide`."""
    if column == 1:
        for k in range(count):
            target[k] = factor * source[k]
    else:
        for k in range(count):
            target[k] = factor * source[k * column]
    for k in range(count, wide):
        target[k] = like(factor, 0.0)


@jit
def _dot(x, x_column, y, y_column, count, zero):
    total = zero
    for k in range(count):
        total += x[k * x_column] * y[k * y_column]
    return total


@jit
def take_queries(rows, q, out, dout, logs, room, alpha):
    """Bring a group's rows: queries times alpha, gradients of outputs, tops and D.

    NOTE: weights are powers of two of scores below a whole number, as `raise_two` wants it; what is
    missing to the logarithm of the sum, a factor for each query, goes into dout and D.
    """
    for i in range(rows):
        log = logs[i] * like(alpha, math.log2(math.e))
        top = np.floor(log)
        factor = like(alpha, 2.0 ** (top - log))
        if log == like(alpha, -math.inf):
            top = factor = like(alpha, 0.0)
        room.tops[i] = top
        source = at(dout.start, i * dout.row)
        own = at(out.start, i * out.row)
        zero = like(alpha, 0.0)
        room.deltas[i] = factor * _dot(source, dout.column, own, out.column, room.e, zero)
        _copy_row(source, dout.column, at(room.douts, i * room.e_wide), room.e, room.e_wide, factor)
        query = at(q.start, i * q.row)
        _copy_row(query, q.column, at(room.queries, i * room.d_wide), room.d, room.d_wide, alpha)
        for k in range(room.d_wide):
            room.dq[i * room.d_wide + k] = zero


@jit
def _products(left, left_row, depth, panels, first, count, seen, rows, target, block, score):
    """Write left @ panels for keys first … first + count, in tiles of which some row sees a key."""
    wide = NR(target[0])
    step = step_for(rows, MR(target[0]))
    whole = rows // step
    for j in range(0, count, wide):
        panel = at(panels, (first + j) * depth)
        i = max(0, j + 1 - seen) // step
        if i < whole:
            place, out = at(left, i * step * left_row), at(target, i * step * block + j)
            call(score, step, whole - i, place, left_row, 1, panel, depth, out, block)
        if whole * step < rows:
            i = whole * step
            place, out = at(left, i * left_row), at(target, i * block + j)
            call(score, rows - i, 1, place, left_row, 1, panel, depth, out, block)


@jit
def _weigh_row(scores, dscores, own, padded, top, delta):
    """Turn a row of scores into weights, and gradients of weights into those of scores."""
    for j in range(own, padded):
        scores[j] = like(top, -math.inf)
    if not abs(top) <= like(top, HIGHEST):
        for j in range(own):
            scores[j] -= top
        top = like(top, 0.0)
    raise_two(scores, padded, top)
    for j in range(own):
        dscores[j] = scores[j] * (dscores[j] - delta)
    for j in range(own, padded):
        dscores[j] = like(top, 0.0)


@jit
def _add(rows, a, a_row, a_step, b, b_step, depth, c, c_row, columns, tile):
    """Add A @ B, `rows` x `depth` x `columns` (whole vectors), to C."""
    one = like(c[0], 1.0)
    wide, lanes = NR(one), LANES(one)
    for j in range(0, columns, wide):
        vectors = min(columns - j, wide) // lanes
        call(
            tile,
            rows,
            vectors,
            a,
            a_row,
            a_step,
            at(b, j),
            b_step,
            depth,
            at(c, j),
            c_row,
            one,
            one,
        )


@jit
def _add_to_keys(rows, first, count, seen, room, tile):
    """Add what a tile of scores gives to the gradients of its keys and values."""
    step = step_for(count, MR(room.tops[0]))
    for j in range(0, count, step):
        high = min(step, count - j)
        i = max(0, j + 1 - seen)  # the first row that sees a key of these
        if i >= rows:
            break
        d_wide, e_wide = room.d_wide, room.e_wide
        weights, slopes = at(room.scores, i * room.block + j), at(room.dscores, i * room.block + j)
        dout, query = at(room.douts, i * e_wide), at(room.queries, i * d_wide)
        dv, dk = at(room.dv, (first + j) * e_wide), at(room.dk, (first + j) * d_wide)
        _add(high, weights, 1, room.block, dout, e_wide, rows - i, dv, e_wide, e_wide, tile)
        _add(high, slopes, 1, room.block, query, d_wide, rows - i, dk, d_wide, d_wide, tile)


@jit
def _add_to_queries(rows, first, count, seen, room, Tk, tile):
    """Add what a tile of scores gives to the gradients of its queries."""
    one = like(room.tops[0], 1.0)
    wide, lanes = NR(one), LANES(one)
    step = step_for(rows, MR(one))
    for i in range(0, rows, step):
        high = min(step, rows - i)
        depth = min(count, seen + i + high - 1)
        if depth <= 0:
            continue
        for c in range(0, room.d_wide, wide):
            call(
                tile,
                high,
                min(room.d_wide - c, wide) // lanes,
                at(room.dscores, i * room.block),
                room.block,
                1,
                at(room.key_rows, c * Tk + first * wide),
                wide,
                depth,
                at(room.dq, i * room.d_wide + c),
                room.d_wide,
                one,
                one,
            )


@jit
def add_group(rows, Tk, hidden, room, routines):
    """Add what a group of queries gives to all the sums; row i sees keys 0 … i + shift."""
    wide = NR(room.tops[0])
    for first in range(0, min(Tk, max(0, rows + hidden.shift)), room.block):
        count = min(room.block, Tk - first, rows + hidden.shift - first)
        seen = min(hidden.shift + 1 - first, count)
        padded = (count + wide - 1) // wide * wide
        for is_key in (True, False):
            _products(
                room.queries if is_key else room.douts,
                room.d_wide if is_key else room.e_wide,
                room.d if is_key else room.e,
                room.keys if is_key else room.values,
                first,
                count,
                seen,
                rows,
                room.scores if is_key else room.dscores,
                room.block,
                routines.score,
            )
        for i in range(rows):
            scores, dscores = at(room.scores, i * room.block), at(room.dscores, i * room.block)
            own = min(count, max(seen + i, 0))
            if hidden.has_mask != 0:
                start = i * hidden.row + first * hidden.column
                hide(scores, at(hidden.mask, start), hidden.column, own)
            _weigh_row(scores, dscores, own, padded, room.tops[i], room.deltas[i])
        _add_to_keys(rows, first, count, seen, room, routines.tile)
        _add_to_queries(rows, first, count, seen, room, Tk, routines.tile)


@jit
def write(sums, width, count, columns, target, factor):
    """Write `count` rows of sums, `columns` of each, times a factor, where they belong."""
    for i in range(count):
        source, row = at(sums, i * width), at(target.start, i * target.row)
        if target.column == 1:
            for k in range(columns):
                row[k] = factor * source[k]
        else:
            for k in range(columns):
                row[k * target.column] = factor * source[k]
