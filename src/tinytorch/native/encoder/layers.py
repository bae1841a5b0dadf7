"""The layers of an encoder over rows of tokens, a block of rows through each before the next.

Rows belong to threads. All that a layer does is done to a thread's own rows, a block at a time: the
block's inner layer, four times as wide as the states, never leaves the second cache, and a layer
norm finds the sum that it is about there. Only attention looks at other rows. Where a share is
whole sequences, its thread goes through all layers without waiting for any other (APART); where a
sequence is cut, the shares meet once a layer, when keys and values are ready (BY_ROWS).

Few rows are another matter: then the time is that of reading the weights, so each thread reads its
part of them, for all rows, and the shares meet after every product (BY_COLUMNS).

Two things are left out that change nothing: a bias of keys adds the same to all of a query's
scores, which softmax takes off again, and a bias of values goes through the weighted mean as it is,
so it is added behind the projection, by whoever made the table.

Shape letters: T tokens in all, H width, A heads, d width of a head, F width of the inner layer.
"""

from __future__ import annotations

from collections import namedtuple

from tinytorch.native.attention.entries import Plan, laid_out
from tinytorch.native.attention.tiles import Cache, Hidden, Routines, attend, finish
from tinytorch.native.codecache import jit
from tinytorch.native.encoder.dense import (
    bias_of,
    dense_at,
    part_of,
    width_of,
)
from tinytorch.native.encoder.frames import reader
from tinytorch.native.encoder.rows import copy, normalise, scaled
from tinytorch.native.pointers import at, bytes_at, call, floats_at, longs_at

# All of an encoder and one call of it, as numbers: addresses, and sizes in elements. parts: the
# weights of a layer. norms: (gain, shift) of
# each, the first that of the embeddings. starts: where the sequences begin, and the end. bounds:
# where the shares' rows begin, and the end. y, inner: what shares leave for each other BY_COLUMNS.
# rooms: each share's own scratch, `room_bytes` of it: a block's y and inner, attention's room, then
# queries, keys and values if APART, its own states if BY_COLUMNS. What is behind `multiply` is for
# codes alone (`coded_layers`): the states' codes, and in a share's scratch a part's codes, their
# scales and zeros, room for a row, for rows' marks and for sums, and BY_COLUMNS states and codes.
Frame = namedtuple(
    "Frame",
    "layers parts H A F activation eps words places dense norms "
    "ids positions starts sequences bounds states joined mixed y inner mode shares "
    "block group key_block score tile pack strip "
    "rooms room_bytes inner_at attention_at joined_at multiply "
    "coder project_parts codes scales zeros codes_at numbers_at scratch_at marks_at sums_at "
    "own_at own_codes_at own_numbers_at",
)
frame_at = reader(Frame)
QUERIES_KEYS_VALUES, PROJECTION, WIDEN, NARROW = range(4)
APART, BY_ROWS, BY_COLUMNS = range(3)
# The stages of a layer by columns: the four products, and attention behind the first.
STAGES = 5


@jit
def row_at(start, row, width):
    """Return the address of a row of `width` floats, as an integer."""
    return start + 4 * row * width


@jit
def norm_of(address, index):
    """Return a layer norm's gain and shift, by address, and its eps."""
    frame = frame_at(address)
    place = longs_at(frame.norms + 16 * index)
    eps = floats_at(frame.eps)
    return floats_at(place[0]), floats_at(place[1]), eps[0]


@jit
def _multiply(address, weight, source, source_row, rows, columns, target, activation):
    """Write columns of rows @ weight to `target`, whose rows are as wide as the weight."""
    frame = frame_at(address)
    call(
        frame.multiply,
        source,
        source_row,
        rows,
        weight,
        columns[0],
        columns[1],
        target,
        width_of(weight),
        activation,
        frame.strip,
    )


@jit
def embed(address, states, first, last, room):
    """Write the normalised sum of words and places to the states of rows first … last."""
    frame = frame_at(address)
    ids, positions = longs_at(frame.ids), longs_at(frame.positions)
    y = floats_at(room)
    nothing = floats_at(frame.eps + 64)  # zeros, as many as a row is wide
    for i in range(first, last):
        place = floats_at(row_at(frame.places, positions[i], frame.H))
        copy(floats_at(row_at(frame.words, ids[i], frame.H)), frame.H, y)
        out = floats_at(row_at(states, i, frame.H))
        normalise(y, place, nothing, frame.H, norm_of(address, 0), out)


@jit
def join(address, layer, first, last, joined, room):
    """Write queries, keys and values of rows first … last, side by side, without their biases."""
    frame = frame_at(address)
    weight = dense_at(frame.dense, frame.parts * layer + QUERIES_KEYS_VALUES)
    for i in range(first, last, frame.block):
        rows = min(frame.block, last - i)
        source, target = row_at(frame.states, i, frame.H), row_at(joined, i, 3 * frame.H)
        _multiply(address, weight, source, frame.H, rows, (0, 3 * frame.H), target, -1)


@jit
def attend_head(address, head, begin, end, first, last, joined, bias, room):
    """Attend with the queries first … last, of a sequence that is begin … end, in one head."""
    frame = frame_at(address)
    d = frame.H // frame.A
    wide = 3 * frame.H
    plan = Plan(d, d, frame.group, frame.key_block, 0, 0, 0)
    routines = Routines(frame.score, frame.tile, frame.pack)
    count = end - begin
    keys, values, own = laid_out(floats_at(room + frame.attention_at), count, plan)
    place = floats_at(row_at(joined, begin, wide) + 4 * head * d)
    call(routines.pack, at(place, frame.H), wide, 1, count, d, keys, 1)
    call(routines.pack, at(place, 2 * frame.H), 1, wide, d, count, values, 1)
    cache = Cache(keys, values, count, d, d)
    factor = floats_at(frame.eps)[1]
    for i in range(first, last, frame.group):
        rows = min(frame.group, last - i)
        for k in range(rows):
            source = floats_at(row_at(joined, i + k, wide) + 4 * head * d)
            scaled(source, at(bias, head * d), d, factor, at(own.queries, k * d))
        attend(rows, cache, Hidden(bytes_at(0), 0, 0, 0, count), own, routines)
        out = floats_at(row_at(frame.mixed, i, frame.H) + 4 * head * d)
        finish(rows, d, own, out, frame.H, 1, own.totals, 0)


@jit
def mix(address, bias, first, last, joined, room):
    """Write attention's output for rows first … last, each within its sequence."""
    frame = frame_at(address)
    starts = longs_at(frame.starts)
    for s in range(frame.sequences):
        begin, end = starts[s], starts[s + 1]
        one, other = max(begin, first), min(end, last)
        if one < other:
            for head in range(frame.A):
                attend_head(address, head, begin, end, one, other, joined, bias, room)


@jit
def _joined_bias(address, layer):
    frame = frame_at(address)
    return bias_of(dense_at(frame.dense, frame.parts * layer + QUERIES_KEYS_VALUES))


@jit
def complete(address, layer, first, last, room):
    """Do all that comes after attention to rows first … last, block by block."""
    frame = frame_at(address)
    H, F = frame.H, frame.F
    project = dense_at(frame.dense, frame.parts * layer + PROJECTION)
    widen = dense_at(frame.dense, frame.parts * layer + WIDEN)
    narrow = dense_at(frame.dense, frame.parts * layer + NARROW)
    inner = room + frame.inner_at
    for i in range(first, last, frame.block):
        rows = min(frame.block, last - i)
        states, mixed = row_at(frame.states, i, H), row_at(frame.mixed, i, H)
        _multiply(address, project, mixed, H, rows, (0, H), room, -1)
        _normalise_rows(address, rows, project, room, states, states, 2 * layer + 1)
        _multiply(address, widen, states, H, rows, (0, F), inner, frame.activation)
        _multiply(address, narrow, inner, F, rows, (0, H), room, -1)
        _normalise_rows(address, rows, narrow, room, states, states, 2 * layer + 2)


@jit
def _normalise_rows(address, rows, weight, y, states, out, index):
    """Write the layer norm of y + states + a weight's bias to `out`."""
    frame = frame_at(address)
    bias = bias_of(weight)
    for k in range(rows):
        row = floats_at(row_at(states, k, frame.H))
        made = floats_at(row_at(y, k, frame.H))
        target = floats_at(row_at(out, k, frame.H))
        normalise(made, row, bias, frame.H, norm_of(address, index), target)


@jit
def chunk_end(address, first, last):
    """Return where whole sequences from row `first` on end that fill a block, or are one."""
    frame = frame_at(address)
    starts = longs_at(frame.starts)
    end = first
    for s in range(frame.sequences):
        if starts[s] >= first and starts[s + 1] > first and starts[s + 1] <= last:
            if end > first and starts[s + 1] - first > frame.block:
                break
            end = starts[s + 1]
    return end


@jit
def whole(address, first, last, room):
    """Take rows first … last, whole sequences, through the encoder."""
    frame = frame_at(address)
    embed(address, frame.states, first, last, room)
    for layer in range(frame.layers):
        i = first
        while i < last:
            end = chunk_end(address, i, last)
            joined = room + frame.joined_at - 12 * i * frame.H
            join(address, layer, i, end, joined, room)
            mix(address, _joined_bias(address, layer), i, end, joined, room)
            complete(address, layer, i, end, room)
            i = end


@jit
def stage(address, number, first, last, room):
    """Take rows through one stage: what lies between two moments when all shares must be ready.

    Stage 0 ends with the first layer's keys and values, each further one with the next layer's.
    There are two places for these, for a share may be behind, still reading the layer before.
    """
    frame = frame_at(address)
    size = 12 * longs_at(frame.starts)[frame.sequences] * frame.H
    if number == 0:
        embed(address, frame.states, first, last, room)
    else:
        joined = frame.joined + (number - 1) % 2 * size
        mix(address, _joined_bias(address, number - 1), first, last, joined, room)
        complete(address, number - 1, first, last, room)
    if number < frame.layers:
        join(address, number, first, last, frame.joined + number % 2 * size, room)


@jit
def _own_norm(address, number, rows, room):
    """Bring a share's own states, at the end of its scratch, up to a stage by columns."""
    frame = frame_at(address)
    layer, part = number // STAGES, number % STAGES
    own, y = room + frame.joined_at, room
    if part == 0 and layer == 0:
        embed(address, own, 0, rows, room)
    elif part == 0:
        narrow = dense_at(frame.dense, frame.parts * (layer - 1) + NARROW)
        copy_rows(frame.y, rows * frame.H, y)
        _normalise_rows(address, rows, narrow, y, own, own, 2 * layer)
    elif part == 3:
        project = dense_at(frame.dense, frame.parts * layer + PROJECTION)
        copy_rows(frame.y, rows * frame.H, y)
        _normalise_rows(address, rows, project, y, own, own, 2 * layer + 1)
    return own


@jit
def copy_rows(source, count, target):
    """Copy `count` floats from address to address."""
    copy(floats_at(source), count, floats_at(target))


@jit
def columns(address, number, share, rows, room):
    """Do a share's part of a stage by columns: of a product, or of attention's heads."""
    frame = frame_at(address)
    H = frame.H
    layer, part = number // STAGES, number % STAGES
    own = _own_norm(address, number, rows, room)
    if layer == frame.layers:
        if share == 0:
            copy_rows(own, rows * H, frame.states)
        return
    if part == 1:
        bias = bias_of(dense_at(frame.dense, frame.parts * layer + QUERIES_KEYS_VALUES))
        first, last = share * frame.A // frame.shares, (share + 1) * frame.A // frame.shares
        starts = longs_at(frame.starts)
        for s in range(frame.sequences):
            for head in range(first, last):
                begin, end = starts[s], starts[s + 1]
                attend_head(address, head, begin, end, begin, end, frame.joined, bias, room)
        return
    weight = dense_at(frame.dense, frame.parts * layer + max(part - 1, 0))
    mine = part_of(weight, share, frame.shares)
    source, wide, target = own, H, frame.joined
    if part == 4:
        source, wide, target = frame.inner, frame.F, frame.y
    elif part == 2:
        source, target = frame.mixed, frame.y
    elif part == 3:
        target = frame.inner
    activation = frame.activation if part == 3 else -1
    _multiply(address, weight, source, wide, rows, mine, target, activation)


def share_of(address, share, number):
    """Compute one share: a stage of it, or all of it where shares are apart."""
    frame = frame_at(address)
    bounds = longs_at(frame.bounds)
    first, last = bounds[share], bounds[share + 1]
    room = frame.rooms + share * frame.room_bytes
    if frame.mode == BY_COLUMNS:
        columns(address, number, share, longs_at(frame.starts)[frame.sequences], room)
    elif first < last and frame.mode == APART:
        whole(address, first, last, room)
    elif first < last:
        stage(address, number, first, last, room)
