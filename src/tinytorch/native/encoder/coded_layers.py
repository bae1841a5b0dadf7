"""An encoder's layers in INT8: rows are codes from the moment they are made.

What changed from float32 (`layers`): whatever makes rows that a product reads writes their codes
at once, while they are in the first cache. A layer norm codes the states; an inner layer's columns
are activated, and their rows' ranges found, as sums are settled. The inner layer is made in parts
of its columns, which the last product takes as parts of its depth: a part of a block's inner rows
stays in the second cache, whatever the width. Products are added to the states where they lie.

Few rows, by columns: each share has some heads and some parts of the inner layer, from the
projection's input to its output, as in Shoeybi et al., "Megatron-LM" (2019). What shares add to
the states is kept apart by parts and added up by each, in the parts' order: the sums are the same
for any number of shares, who meet twice a layer.
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np

from tinytorch.native.codecache import c_function, jit
from tinytorch.native.encoder import codes
from tinytorch.native.encoder.coded import coded_at, coder_at, weight_at
from tinytorch.native.encoder.layers import (
    APART,
    BY_COLUMNS,
    attend_head,
    chunk_end,
    copy_rows,
    frame_at,
    mix,
    norm_of,
    row_at,
)
from tinytorch.native.encoder.rows import add, copy
from tinytorch.native.encoder.settle import ADD, FIRST_ACTIVATION, STORE
from tinytorch.native.pointers import at, call, floats_at, longs_at, types

# Where rows are: the first one's states, codes, scale and zero.
Rows = namedtuple("Rows", "states codes scales zeros")
QUERIES_KEYS_VALUES, PROJECTION = 0, 1


@jit
def _weight(address, layer, number):
    frame = frame_at(address)
    return weight_at(frame.dense, frame.parts * layer + number)


@jit
def _widen(address):
    """Return which weight of a layer is the first of its network; the parts of the last follow."""
    return PROJECTION + frame_at(address).project_parts


@jit
def _narrow_parts(address):
    frame = frame_at(address)
    return frame.parts - 2 - frame.project_parts


@jit
def _multiply(address, source, rows, weight, columns, target, kind, room):
    """Settle columns of rows of codes @ weight; source: (codes, scales, zeros)."""
    frame = frame_at(address)
    call(
        frame.multiply,
        source[0],
        source[1],
        source[2],
        rows,
        weight,
        columns[0],
        columns[1],
        target[0],
        target[1],
        kind,
        room + frame.marks_at,
        frame.coder,
        room + frame.sums_at,
    )


@jit
def _shared_rows(address, first):
    frame = frame_at(address)
    width = coded_at(_weight(address, 0, QUERIES_KEYS_VALUES)).row_bytes
    return Rows(
        row_at(frame.states, first, frame.H),
        frame.codes + first * width,
        frame.scales + 4 * first,
        frame.zeros + 4 * first,
    )


@jit
def _own_rows(address, rows, room):
    frame = frame_at(address)
    numbers = room + frame.own_numbers_at
    return Rows(room + frame.own_at, room + frame.own_codes_at, numbers, numbers + 4 * rows)


@jit
def _normalise(address, place, rows, bias, index, weight, room):
    """Normalise states + bias, and code them for a product by a weight."""
    frame = frame_at(address)
    c, w = coder_at(frame.coder), coded_at(weight)
    about = floats_at(room + frame.scratch_at), np.float32(c.top)
    even, norm = floats_at(w.inverse), norm_of(address, index)
    for i in range(rows):
        codes.normalise(
            floats_at(row_at(place.states, i, frame.H)),
            bias,
            frame.H,
            norm,
            even,
            about,
            (place.codes + i * w.row_bytes, c.code_bytes),
            (floats_at(place.scales + 4 * i), floats_at(place.zeros + 4 * i)),
        )


@jit
def _embed(address, place, first, rows, room):
    """Write the normalised sums of words and places to rows' states, and their codes."""
    frame = frame_at(address)
    ids, positions = longs_at(frame.ids), longs_at(frame.positions)
    for i in range(rows):
        state = floats_at(row_at(place.states, i, frame.H))
        copy(floats_at(row_at(frame.words, ids[first + i], frame.H)), frame.H, state)
        add(floats_at(row_at(frame.places, positions[first + i], frame.H)), frame.H, state)
    nothing = floats_at(frame.eps + 64)  # zeros, as many as a row is wide
    weight = _weight(address, 0, QUERIES_KEYS_VALUES)
    _normalise(address, place, rows, nothing, 0, weight, room)


@jit
def _after_attention(address, layer, place, rows, room):
    bias = floats_at(coded_at(_weight(address, layer, PROJECTION)).bias)
    weight = _weight(address, layer, _widen(address))
    _normalise(address, place, rows, bias, 2 * layer + 1, weight, room)


@jit
def _after_network(address, layer, place, rows, room):
    frame = frame_at(address)
    bias = floats_at(coded_at(_weight(address, layer, _widen(address) + 1)).bias)
    # The last layer's states are codes for nothing; they are made as if there were another.
    weight = _weight(address, (layer + 1) % frame.layers, QUERIES_KEYS_VALUES)
    _normalise(address, place, rows, bias, 2 * layer + 2, weight, room)


@jit
def _part_codes(address, room):
    """Return where a share has codes of a part of rows, scales and zeros."""
    frame = frame_at(address)
    numbers = room + frame.numbers_at
    return room + frame.codes_at, numbers, numbers + 4 * frame.block


@jit
def _project(address, layer, part, first, rows, out, kind, room):
    """Multiply a part of attention's output, rows from `first` on, by its part of the weight."""
    frame = frame_at(address)
    weight = _weight(address, layer, PROJECTION + part)
    w, c = coded_at(weight), coder_at(frame.coder)
    source = _part_codes(address, room)
    for i in range(rows):
        codes.plain(
            floats_at(row_at(frame.mixed, first + i, frame.H) + 4 * part * w.K),
            w.K,
            np.float32(c.top),
            (source[0] + i * w.row_bytes, c.code_bytes),
            (floats_at(source[1] + 4 * i), floats_at(source[2] + 4 * i)),
        )
    _multiply(address, source, rows, weight, (0, frame.H), (out, frame.H), kind, room)


@jit
def _through_network(address, layer, part, place, rows, out, kind, room):
    """Make a part of the inner layer of rows, and multiply it by its part of the last weight."""
    frame = frame_at(address)
    number = _widen(address)
    weight = _weight(address, layer, number + 1 + part)
    w, c = coded_at(weight), coder_at(frame.coder)
    inner, marks = room + frame.inner_at, floats_at(room + frame.marks_at)
    for k in range(2 * c.lanes * rows):
        marks[k] = np.float32(0)
    columns = part * w.K, (part + 1) * w.K
    here = place.codes, place.scales, place.zeros
    way = FIRST_ACTIVATION + frame.activation
    widen = _weight(address, layer, number)
    _multiply(address, here, rows, widen, columns, (inner, w.K), way, room)
    source = _part_codes(address, room)
    scales = floats_at(place.scales)
    for i in range(rows):
        codes.marked(
            floats_at(row_at(inner, i, w.K)),
            w.K,
            at(marks, 2 * c.lanes * i),
            scales[i],
            np.float32(c.top),
            (source[0] + i * w.row_bytes, c.code_bytes),
            (floats_at(source[1] + 4 * i), floats_at(source[2] + 4 * i)),
        )
    _multiply(address, source, rows, weight, (0, frame.H), (out, frame.H), kind, room)


@jit
def _step(address, count):
    """Return the rows of even blocks of so many, whole tiles."""
    frame = frame_at(address)
    high = coder_at(frame.coder).rows
    blocks = (count + frame.block - 1) // frame.block
    each = (count + blocks - 1) // blocks
    return (each + high - 1) // high * high


@jit
def _join(address, layer, first, last, joined, room):
    """Write queries, keys and values of rows first … last, side by side, without their biases."""
    frame = frame_at(address)
    weight = _weight(address, layer, QUERIES_KEYS_VALUES)
    step, wide = _step(address, last - first), 3 * frame.H
    for i in range(first, last, step):
        place = _shared_rows(address, i)
        here = place.codes, place.scales, place.zeros
        target = row_at(joined, i, wide), wide
        _multiply(address, here, min(step, last - i), weight, (0, wide), target, STORE, room)


@jit
def _complete(address, layer, first, last, room):
    """Do all that comes after attention to rows first … last, block by block."""
    frame = frame_at(address)
    step = _step(address, last - first)
    for i in range(first, last, step):
        rows = min(step, last - i)
        place = _shared_rows(address, i)
        for part in range(frame.project_parts):
            _project(address, layer, part, i, rows, place.states, ADD, room)
        _after_attention(address, layer, place, rows, room)
        for part in range(_narrow_parts(address)):
            _through_network(address, layer, part, place, rows, place.states, ADD, room)
        _after_network(address, layer, place, rows, room)


@jit
def _bias(address, layer):
    return floats_at(coded_at(_weight(address, layer, QUERIES_KEYS_VALUES)).bias)


@jit
def _whole(address, first, last, room):
    """Take rows first … last, whole sequences, through the encoder."""
    frame = frame_at(address)
    _embed(address, _shared_rows(address, first), first, last - first, room)
    for layer in range(frame.layers):
        i = first
        while i < last:
            end = chunk_end(address, i, last)
            joined = room + frame.joined_at - 12 * i * frame.H
            _join(address, layer, i, end, joined, room)
            mix(address, _bias(address, layer), i, end, joined, room)
            _complete(address, layer, i, end, room)
            i = end


@jit
def _stage(address, number, first, last, room):
    """Take rows through what lies between two moments when all keys and values must be ready.

    There are two places for these: a share may be behind, still reading those of the layer before.
    """
    frame = frame_at(address)
    size = 12 * longs_at(frame.starts)[frame.sequences] * frame.H
    if number == 0:
        _embed(address, _shared_rows(address, first), first, last - first, room)
    else:
        joined = frame.joined + (number - 1) % 2 * size
        mix(address, _bias(address, number - 1), first, last, joined, room)
        _complete(address, number - 1, first, last, room)
    if number < frame.layers:
        _join(address, number, first, last, frame.joined + number % 2 * size, room)


@jit
def _add_parts(source, parts, count, states):
    """Add parts, `count` floats each, to states, in their order."""
    for part in range(parts):
        add(floats_at(source + 4 * part * count), count, floats_at(states))


@jit
def _attend(address, layer, share, place, rows, room):
    """Do a share's heads, from queries, keys and values to what they add to the states."""
    frame = frame_at(address)
    H, parts = frame.H, frame.project_parts
    weight, wide = _weight(address, layer, QUERIES_KEYS_VALUES), H // parts
    joined = room + frame.joined_at
    here = place.codes, place.scales, place.zeros
    first, last = share * parts // frame.shares, (share + 1) * parts // frame.shares
    for kind in range(3):
        begin, end = kind * H + first * wide, kind * H + last * wide
        target = joined + 4 * begin, 3 * H
        _multiply(address, here, rows, weight, (begin, end), target, STORE, room)
    starts = longs_at(frame.starts)
    for s in range(frame.sequences):
        begin, end = starts[s], starts[s + 1]
        for head in range(first * frame.A // parts, last * frame.A // parts):
            bias = _bias(address, layer)
            attend_head(address, head, begin, end, begin, end, joined, bias, room)
    for part in range(first, last):
        _project(address, layer, part, 0, rows, frame.y + 4 * part * rows * H, STORE, room)


@jit
def _columns(address, number, share, rows, room):
    """Do a share's part of a stage by columns: some heads, or parts of the inner layer."""
    frame = frame_at(address)
    H, layer, parts = frame.H, number // 2, _narrow_parts(address)
    place = _own_rows(address, rows, room)
    if number % 2 != 0:
        _add_parts(frame.y, frame.project_parts, rows * H, place.states)
        _after_attention(address, layer, place, rows, room)
        for part in range(share * parts // frame.shares, (share + 1) * parts // frame.shares):
            out = frame.inner + 4 * part * rows * H
            _through_network(address, layer, part, place, rows, out, STORE, room)
        return
    if number == 0:
        _embed(address, place, 0, rows, room)
    else:
        _add_parts(frame.inner, parts, rows * H, place.states)
        _after_network(address, layer - 1, place, rows, room)
    if layer < frame.layers:
        _attend(address, layer, share, place, rows, room)
    elif share == 0:
        copy_rows(place.states, rows * H, frame.states)


def coded_share_of(address, share, number):
    """Compute one share: a stage of it, or all of it where shares are apart."""
    frame = frame_at(address)
    bounds = longs_at(frame.bounds)
    first, last = bounds[share], bounds[share + 1]
    room = frame.rooms + share * frame.room_bytes
    if frame.mode == BY_COLUMNS:
        _columns(address, number, share, longs_at(frame.starts)[frame.sequences], room)
    elif first < last and frame.mode == APART:
        _whole(address, first, last, room)
    elif first < last:
        _stage(address, number, first, last, room)


def routine() -> Any:
    """Return the compiled share, called by address."""
    return c_function(coded_share_of, types.void(*(types.int64,) * 3))
