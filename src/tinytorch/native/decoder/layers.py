"""The layers of a decoder for one new token of each sequence, with a cache of keys and values.

The time of so few rows is that of reading the weights, so threads share their columns: each reads
its part of every weight, for all rows, and they meet after each product. What is small (the states,
their norms) every thread computes for itself, which costs less than another meeting would.

Radford et al., 2019: x + attention(norm(x)), then x + mlp(norm(x)), a last norm, and the head.

Shape letters: B sequences, T positions of the cache, H width, A heads, d width of a head, F width
of the inner layer, V columns of the head's packed weight.
"""

from __future__ import annotations

from collections import namedtuple

from tinytorch.native.attention.entries import Plan, laid_out
from tinytorch.native.attention.single import attend_one
from tinytorch.native.attention.tiles import Hidden, finish
from tinytorch.native.codecache import jit
from tinytorch.native.encoder.dense import bias_of, dense_at, depth_of, part_of, width_of
from tinytorch.native.encoder.frames import reader
from tinytorch.native.encoder.rows import copy, normalise, scaled
from tinytorch.native.pointers import at, bytes_at, call, floats_at, longs_at

# All of a decoder and one step of it, as numbers: addresses, and sizes in elements. `eps`: eps, the
# scale of scores, and from the 16th float on as many zeros as a row is wide. norms: (gain, shift)
# of each, two for each layer, and the last. cache: (layers, 2, B, A, T, d). shared: mixed, joined,
# y and inner, at the bytes given. rooms: each share's own x, its norm, and attention's room.
Frame = namedtuple(
    "Frame",
    "layers H A F V T B eps words places dense norms key_block strip multiply cache tokens "
    "position mixed joined y inner logits shares rooms room_bytes normal_at attention_at",
)
_frame_at = reader(Frame)
QUERIES_KEYS_VALUES, PROJECTION, WIDEN, NARROW = range(4)
# The stages of a layer: the four products, and attention behind the first.
STAGES = 5
# The number of GELU in its tanh form, as an epilogue has it.
_GELU = 2


@jit
def _row(start, row, width):
    return start + 4 * row * width


@jit
def _norm(address, index):
    frame = _frame_at(address)
    place = longs_at(frame.norms + 16 * index)
    return floats_at(place[0]), floats_at(place[1]), floats_at(frame.eps)[0]


@jit
def _embed(address, room):
    """Write the words' vectors to a share's own states, and return what is to be added: places."""
    frame = _frame_at(address)
    tokens = longs_at(frame.tokens)
    for b in range(frame.B):
        source = floats_at(_row(frame.words, tokens[b], frame.H))
        copy(source, frame.H, floats_at(_row(room, b, frame.H)))


@jit
def _normal(address, number, room):
    """Add what the last product made to a share's own states, and return where their norm is."""
    frame = _frame_at(address)
    layer, part = number // STAGES, number % STAGES
    normal, zeros = room + frame.normal_at, floats_at(frame.eps + 64)
    bias, index = zeros, 2 * layer
    if part == 3:
        bias, index = bias_of(dense_at(frame.dense, 4 * layer + PROJECTION)), index + 1
    elif layer > 0:
        bias = bias_of(dense_at(frame.dense, 4 * layer - 4 + NARROW))
    if number == 0:
        _embed(address, room)
    for b in range(frame.B):
        row, target = floats_at(_row(room, b, frame.H)), floats_at(_row(normal, b, frame.H))
        added = floats_at(_row(frame.y, b, frame.H))
        if number == 0:
            added = floats_at(_row(frame.places, frame.position, frame.H))
        normalise(row, added, bias, frame.H, _norm(address, index), target)
    return normal


@jit
def _attend(address, layer, b, head, room):
    """Keep the new key and value of a head, and attend to all that are there."""
    frame = _frame_at(address)
    H, d, T = frame.H, frame.H // frame.A, frame.T
    bias = at(bias_of(dense_at(frame.dense, 4 * layer + QUERIES_KEYS_VALUES)), head * d)
    made = at(floats_at(_row(frame.joined, b, 3 * H)), head * d)
    half = frame.B * frame.A * T * d
    keys = frame.cache + 4 * (2 * layer * half + (b * frame.A + head) * T * d)
    values = keys + 4 * half
    one = floats_at(frame.eps)[2]
    place = 4 * frame.position * d
    scaled(at(made, H), at(bias, H), d, one, floats_at(keys + place))
    scaled(at(made, 2 * H), at(bias, 2 * H), d, one, floats_at(values + place))
    plan = Plan(d, d, 1, frame.key_block, 0, 0, 0)
    _, _, own = laid_out(floats_at(room + frame.attention_at), 0, plan)
    scaled(made, bias, d, floats_at(frame.eps)[1], own.queries)
    count = frame.position + 1
    hidden = Hidden(bytes_at(0), 0, 0, 0, count)
    attend_one((floats_at(keys), d), (floats_at(values), d), count, (d, d), hidden, own)
    out = floats_at(_row(frame.mixed, b, H) + 4 * head * d)
    finish(1, d, own, out, H, 1, own.totals, 0)


@jit
def _multiply(address, index, share, source, target, activation):
    """Do a share's columns of a product."""
    frame = _frame_at(address)
    weight = dense_at(frame.dense, index)
    first, last = part_of(weight, share, frame.shares)
    call(
        frame.multiply,
        source,
        depth_of(weight),
        frame.B,
        weight,
        first,
        last,
        target,
        width_of(weight),
        activation,
        frame.strip,
    )


def share_of(address, share, number):
    """Do a share's part of a stage: of a product, or of attention's heads."""
    frame = _frame_at(address)
    room = frame.rooms + share * frame.room_bytes
    layer, part = number // STAGES, number % STAGES
    index = 4 * layer + max(part - 1, 0)
    if part == 1:
        jobs = frame.B * frame.A
        for job in range(share * jobs // frame.shares, (share + 1) * jobs // frame.shares):
            _attend(address, layer, job // frame.A, job % frame.A, room)
        return
    source, target, activation = frame.mixed, frame.y, -1
    if part == 4:
        source = frame.inner
    elif part != 2:
        source = _normal(address, number, room)
        target = frame.joined if part == 0 else frame.inner
    if layer == frame.layers:
        target = frame.logits
    if part == 3:
        activation = _GELU
    _multiply(address, index, share, source, target, activation)
