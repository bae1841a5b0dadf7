"""Rows of activations by a sparse weight: panels of tokens, turned on the way in and out.

Each share takes a run of items, strips of tokens cut by outputs: it packs a strip's activations
into a panel that stays in the second cache, multiplies it by row of blocks after row of blocks into
a few outputs' tokens in the first, and turns those into rows of y. Each output is one sum over its
blocks in order, so it is the same for any number of shares.

Shape letters: M tokens, K inputs, N outputs; R outputs and W inputs of a block; T tokens of a tile.
"""

from __future__ import annotations

import functools
from collections import namedtuple
from typing import Any

from numpy.typing import NDArray

from tinytorch.native import threads
from tinytorch.native.aligned import address_of
from tinytorch.native.codecache import c_function, jit, prange
from tinytorch.native.pointers import at, call, floats_at, ints_at, longs_at, types
from tinytorch.native.room import Room
from tinytorch.native.sparse.tile import lanes, multiply_blocks, turn_square, vectors_for

Array = NDArray[Any]

# Multiply-adds below which waking the threads costs more than they bring.
WORTH_SHARING = 1 << 20
# Parts that outputs are cut into for each thread where there are few strips of tokens.
_PARTS = 4

# Everything is a number: addresses, and counts of elements.
Rows = namedtuple("Rows", "x x_row y y_row M K N")
Blocks = namedtuple("Blocks", "values columns starts bias R W")
# `group` outputs are turned at a time; strips x parts items; a share has `room` bytes.
Cut = namedtuple("Cut", "vectors T L group strips parts shares room")
Routines = namedtuple("Routines", "pack strip")


def _pack(x, x_row, tokens, K, T, L, panel):
    """Write `tokens` rows of x as a panel (K, T); what is beyond them becomes 0."""
    source, target = floats_at(x), floats_at(panel)
    for t in range(0, T, L):
        k = 0
        if t + L <= tokens:
            while k + L <= K:
                turn_square(at(source, t * x_row + k), x_row, at(target, k * T + t), T)
                k += L
        for left in range(k, K):
            for i in range(t, t + L):
                target[left * T + i] = source[i * x_row + left] if i < tokens else 0


@jit
def _turn(source, T, target, target_row, high, tokens, L):
    """Write `high` outputs' tokens, T apart, as columns of rows `target_row` apart."""
    whole = tokens // L * L if high % L == 0 else 0
    for t in range(0, whole, L):
        for c in range(0, high, L):
            turn_square(at(source, c * T + t), T, at(target, t * target_row + c), target_row)
    for t in range(whole, tokens):
        for c in range(high):
            target[t * target_row + c] = source[c * T + t]


# fmt: off
def _strip(
    values, columns, starts, bias, R, W, panel, tokens, vectors, T, L, group, first, last, N,
    turned, y, y_row,
):
    # fmt: on
    """Multiply a panel by the outputs `first` to `last`, `group` at a time."""
    value, column, start = floats_at(values), ints_at(columns), longs_at(starts)
    x, out, target = floats_at(panel), floats_at(turned), floats_at(y)
    for n in range(first, last, group):
        high = min(group, N - n)
        for r in range(0, high, R):
            b = (n + r) // R
            multiply_blocks(
                R,
                vectors,
                at(value, start[b] * R * W),
                at(column, start[b]),
                start[b + 1] - start[b],
                W,
                x,
                at(floats_at(bias), n + r),
                at(out, r * T),
            )
        _turn(out, T, at(target, n), y_row, high, tokens, L)


@functools.cache
def _routines() -> Routines:
    """Return the routines' addresses, each compiled once."""
    size = types.int64
    made = (
        c_function(_pack, types.void(*(size,) * 7)),
        c_function(_strip, types.void(*(size,) * 18)),
    )
    _KEPT.extend(made)  # or their code would be freed
    return Routines(*(routine.address for routine in made))


_KEPT: list[Any] = []


@jit
def _share(share, rows, blocks, cut, routines, room):
    """Compute a share's run of items: strips of T tokens, each cut into parts of the outputs."""
    items = cut.strips * cut.parts
    groups = (rows.N + cut.group - 1) // cut.group
    packed = -1
    turned = room + 4 * cut.T * rows.K
    for item in range(share * items // cut.shares, (share + 1) * items // cut.shares):
        strip, part = item // cut.parts, item % cut.parts
        m = strip * cut.T
        tokens = min(cut.T, rows.M - m)
        if strip != packed:
            x = rows.x + 4 * m * rows.x_row
            call(routines.pack, x, rows.x_row, tokens, rows.K, cut.T, cut.L, room)
            packed = strip
        call(
            routines.strip,
            blocks.values,
            blocks.columns,
            blocks.starts,
            blocks.bias,
            blocks.R,
            blocks.W,
            room,
            tokens,
            cut.vectors,
            cut.T,
            cut.L,
            cut.group,
            part * groups // cut.parts * cut.group,
            min((part + 1) * groups // cut.parts * cut.group, rows.N),
            rows.N,
            turned,
            rows.y + 4 * m * rows.y_row,
            rows.y_row,
        )


def _multiply(rows, blocks, cut, routines, room):
    """Compute the product, each share in `cut.room` bytes from `room`."""
    if cut.shares == 1:
        _share(0, rows, blocks, cut, routines, room)
    else:
        for share in prange(cut.shares):
            _share(share, rows, blocks, cut, routines, room + share * cut.room)


@functools.cache
def _compiled() -> Any:
    compiled: Any = jit(parallel=True)(_multiply)
    size = types.int64
    kinds = [
        types.NamedUniTuple(size, len(kind._fields), kind) for kind in (Rows, Blocks, Cut, Routines)
    ]
    compiled.compile((*kinds, size))
    compiled.disable_compile()
    return compiled


ROOM = Room()


@functools.lru_cache(maxsize=4096)
def _cut(M: int, K: int, R: int, work: int, count: int) -> Cut:
    """Return how a product of M tokens and `work` multiply-adds is cut for `count` threads."""
    L = lanes()
    known = vectors_for(R)
    # The narrowest tile that holds all tokens, or the widest.
    vectors = next((v for v in known[::-1] if v * L >= M), known[0])
    T, group = vectors * L, max(L, R)
    strips = -(-M // T)
    shares = count if work >= WORTH_SHARING else 1
    parts = 1 if strips % shares == 0 or strips >= _PARTS * shares else _PARTS * shares
    room = -(-4 * T * (K + group) // 64) * 64
    return Cut(vectors, T, L, group, strips, parts, shares, room)


def multiply(x: Array, weight: tuple[Array, Array, Array], bias: Array, y: Array) -> None:
    """Write x (M, K) by a weight's blocks, plus bias, into y (M, N); all float32.

    weight: values (P, W, R), columns (P,) int32, starts (rows of blocks + 1,) int64, contiguous
    and in bounds; bias: a multiple of R, the outputs rounded up. Rows of x and y may be any stride
    apart, their elements are neighbours; y shares no memory with x.
    """
    if not y.size:
        return
    values, columns, starts = weight
    a, b, c, d = map(address_of, (values, columns, starts, bias))
    (M, K), N, (_, W, R) = x.shape, y.shape[1], values.shape
    cut = _cut(M, K, R, M * values.size, threads.get_num_threads())
    _compiled()(
        Rows(address_of(x), x.strides[0] // 4, address_of(y), y.strides[0] // 4, M, K, N),
        Blocks(a, b, c, d, R, W),
        cut,
        _routines(),
        ROOM.address(cut.shares * cut.room),
    )
