"""Weights as the tiles read them: panels of a tile's columns, group after group, zeros at the ends.

For maddubs a panel is a stream of records, each with the constants that its way of summing needs
(see tile.py); which way is proved here, from the weights, for all the columns of the panel.

Constants cost memory where they are needed: two int16 a column for each of a record's two sums,
beside its 16 codes. A seventh of the records of a normal weight of 768 x 3072 have them, and it is
3.6 times smaller than in float32; weights that fill the codes' range evenly have them everywhere,
and are 2.6 times smaller. Other dots of single bytes (VNNI) have none: 3.8 times, what is left
being scales, sums and biases. As bytes (in steps of 256), made int16 for every row, constants would
take half, and the product 6 % longer.

Shape letters: K, N of the weight; C columns of a panel.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinytorch.native.aligned import aligned_empty
from tinytorch.native.codecache import jit, prange
from tinytorch.native.int8.dots import RECORD_GROUPS, Dot
from tinytorch.native.int8.tile import CENTRED, PAIRS, PLAIN
from tinytorch.native.pointers import types

_GROUP = 4
_DEPTH = _GROUP * RECORD_GROUPS
_HALF = _DEPTH // 2
_TOP = 127
_LARGEST = 2**15 - 1
# Codes below which waking the threads costs more than they bring.
_WORTH_SHARING = 1 << 16


@jit
def _pack_panel(codes, p, columns, group, out):
    """Write a panel of plain groups: out[step, column, place in the group]."""
    K, N = codes.shape
    width = min(columns, N - p * columns)
    for s in range(out.shape[0]):
        for q in range(group):
            k = s * group + q
            if k < K:
                for c in range(width):
                    out[s, c, q] = codes[k, p * columns + c]
            for c in range(width if k < K else 0, columns):
                out[s, c, q] = 0


@jit(parallel=True)
def _pack_groups(codes, columns, group, out):
    if codes.size < _WORTH_SHARING:
        for p in range(out.shape[0]):
            _pack_panel(codes, p, columns, group, out[p])
    else:
        for p in prange(out.shape[0]):
            _pack_panel(codes, p, columns, group, out[p])


@jit
def _lane_sums(codes, k, depth, j):
    """Return the sum of the positive and of the negative weights of one int16 lane.

    Lane k of a column sums the pairs k, k + 1 of every group of 4 in `depth` codes.
    """
    K, N = codes.shape
    positive = negative = 0
    if j < N:
        for first in range(k, min(k + depth, K), _GROUP):
            for row in range(first, min(first + 2, K)):
                w = int(codes[row, j])
                if w > 0:
                    positive += w
                else:
                    negative -= w
    return positive, negative


@jit
def _fits(codes, k, depth, j):
    positive, negative = _lane_sums(codes, k, depth, j)
    return _TOP * max(positive, negative) <= _LARGEST


@jit
def _way(codes, record, first, columns):
    """Return how a record can be summed in int16, for all the columns of a panel."""
    way = PLAIN
    for j in range(first, first + columns):
        for lane in range(2):
            k = record * _DEPTH + 2 * lane
            if not _fits(codes, k, _DEPTH, j):
                way = PAIRS
                if not (_fits(codes, k, _HALF, j) and _fits(codes, k + _HALF, _HALF, j)):
                    return CENTRED
    return way


@jit(parallel=True)
def _ways(codes, columns, ways):
    for p in prange(ways.shape[0]):
        for r in range(ways.shape[1]):
            ways[p, r] = _way(codes, r, p * columns, columns)


@jit
def _centre(positive, negative):
    """Return the constant that puts a sum in [-127 negative, 127 positive] around zero."""
    return -(_TOP * (positive - negative)) // 2


@jit
def _write_constants(codes, k, depth, first, columns, words, constants):
    """Write the constants of one sum of a panel's columns, and add them up by column."""
    for c in range(columns):
        for half in range(2):
            positive, negative = _lane_sums(codes, k + 2 * half, depth, first + c)
            centre = _centre(positive, negative)
            words[2 * c + half] = centre
            constants[first + c] += centre


@jit(parallel=True)
def _pack_records(codes, columns, ways, starts, out, words, constants):
    """Write panels of records; `words` is `out` as int16, `starts` in bytes."""
    K, N = codes.shape
    group_bytes = columns * _GROUP
    for p in prange(ways.shape[0]):
        place = starts[p]
        for r in range(ways.shape[1]):
            for g in range(RECORD_GROUPS):
                for q in range(_GROUP):
                    k = r * _DEPTH + g * _GROUP + q
                    for c in range(columns):
                        j = p * columns + c
                        out[place + c * _GROUP + q] = codes[k, j] if k < K and j < N else 0
                place += group_bytes
            if ways[p, r] == CENTRED:
                for first in range(r * _DEPTH, (r + 1) * _DEPTH, _HALF):
                    half = words[place // 2 : (place + group_bytes) // 2]
                    _write_constants(codes, first, _HALF, p * columns, columns, half, constants)
                    place += group_bytes


@functools.cache
def _compiled(function: Any, *kinds: Any) -> Any:
    """Compile a packer for C-contiguous codes, writable or not, and `kinds` behind them."""
    function.compile((types.Array(types.int8, 2, "C", readonly=True), *kinds))
    return function


def _array(kind: Any, rank: int) -> Any:
    return types.Array(kind, rank, "C")


def _pack_plainly(codes: NDArray[Any], dot: Dot, panels: int, depth: int) -> NDArray[Any]:
    kind = np.int8 if dot.group == 4 else np.int16
    shape = (panels, depth // dot.group, dot.columns, dot.group)
    packed = aligned_empty(shape, kind)
    size, out = types.int64, _array(types.int8 if dot.group == 4 else types.int16, 4)
    _compiled(_pack_groups, size, size, out)(codes, dot.columns, dot.group, packed)
    return packed.reshape(-1).view(np.uint8)


def _pack_in_records(
    codes: NDArray[Any], dot: Dot, ways: NDArray[Any], constants: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    size, kinds = types.int64, _array(types.uint8, 2)
    _compiled(_ways, size, kinds)(codes, dot.columns, ways)
    sizes = RECORD_GROUPS + 2 * (ways == CENTRED).astype(np.int64)
    sizes *= dot.columns * _GROUP
    starts = np.concatenate(([0], np.cumsum(sizes.sum(axis=1))))
    packed = aligned_empty(int(starts[-1]), np.uint8)
    flat = [_array(kind, 1) for kind in (types.int64, types.int8, types.int16, types.int32)]
    write = _compiled(_pack_records, size, kinds, *flat)
    write(codes, dot.columns, ways, starts, packed.view(np.int8), packed.view(np.int16), constants)
    return packed, starts


def pack(codes: NDArray[Any], dot: Dot) -> tuple[NDArray[Any], ...]:
    """Return codes (K, N) packed for a dot: bytes, panel starts, ways of summing, constants.

    int8, any strides. Starts are in bytes, one more than there are panels; the ways (panels, steps)
    are all 0 where the dot has one; the constants, one int32 a column of every panel, are what the
    sums hold too much.
    """
    codes = np.ascontiguousarray(codes)
    panels, depth = -(-codes.shape[1] // dot.columns), dot.padded(codes.shape[0])
    ways = np.zeros((panels, depth // dot.group // dot.groups), np.uint8)
    constants = np.zeros(panels * dot.columns, np.int32)
    if dot.name == "maddubs":
        return *_pack_in_records(codes, dot, ways, constants), ways, constants
    packed = _pack_plainly(codes, dot, panels, depth)
    starts = np.arange(panels + 1) * (depth * dot.columns * dot.code_bytes)
    return packed, starts, ways, constants
