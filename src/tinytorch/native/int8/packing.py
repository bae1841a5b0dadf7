"""Weights as the tiles read them: panels of a tile's columns, group after group, and no padding.

A panel's bytes are its codes: group after group of the depth, in each the columns' groups side by
side, and at last what is less than a group of each column. So weights of INT8 are a quarter of
float32's, whatever their size, but for a scale and a sum for each column. A panel that is no whole
number of columns or of steps is spread out, with zeros where nothing is, whenever a block of rows
comes to be multiplied by it: that costs what a row or two cost.

For maddubs, which way each record of a panel can be summed (see tile.py) is proved here, from the
weights of all its columns: one byte for some 500 codes.

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
from tinytorch.native.int8.tile import FIRST_APART, PAIRS, PLAIN, SECOND_APART
from tinytorch.native.pointers import bytes_at, ints_at, types

_GROUP = 4
_DEPTH = _GROUP * RECORD_GROUPS
_HALF = _DEPTH // 2
_TOP = 127
_LARGEST = 2**15 - 1
# Codes below which waking the threads costs more than they bring.
_WORTH_SHARING = 1 << 16


@jit
def _pack_panel(codes, first, width, group, out):
    """Write the columns from `first` on: whole groups, then what is left of each column."""
    K = codes.shape[0]
    whole, place = K // group * group, 0
    for k in range(0, whole, group):
        for c in range(width):
            for q in range(group):
                out[place + c * group + q] = codes[k + q, first + c]
        place += group * width
    for c in range(width):
        for k in range(whole, K):
            out[place] = codes[k, first + c]
            place += 1


@jit(parallel=True)
def _pack(codes, columns, group, out):
    K, N = codes.shape
    panels = (N + columns - 1) // columns
    if codes.size < _WORTH_SHARING:
        for p in range(panels):
            first, width = p * columns, min(columns, N - p * columns)
            _pack_panel(codes, first, width, group, out[first * K : (first + width) * K])
    else:
        for p in prange(panels):
            first, width = p * columns, min(columns, N - p * columns)
            _pack_panel(codes, first, width, group, out[first * K : (first + width) * K])


@jit
def spread_panel(source, width, K, columns, padded, code_bytes, out):
    """Write a packed panel of `width` columns as a tile takes it, from address to address."""
    group = 4 // code_bytes
    groups, steps = K // group, padded // group
    words, spread = ints_at(source), ints_at(out)
    for g in range(groups):
        for c in range(width):
            spread[g * columns + c] = words[g * width + c]
        for c in range(width, columns):
            spread[g * columns + c] = 0
    for i in range(groups * columns, steps * columns):
        spread[i] = 0
    rest = (K - groups * group) * code_bytes
    single, place = bytes_at(source + 4 * groups * width), bytes_at(out + 4 * groups * columns)
    for c in range(width):
        for q in range(rest):
            place[4 * c + q] = single[c * rest + q]


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
    plain, apart = True, 0
    for j in range(first, first + columns):
        for lane in range(2):
            k = record * _DEPTH + 2 * lane
            plain = plain and _fits(codes, k, _DEPTH, j)
            if not _fits(codes, k, _HALF, j):
                apart |= FIRST_APART
            if not _fits(codes, k + _HALF, _HALF, j):
                apart |= SECOND_APART
    return PLAIN if plain else PAIRS | apart


@jit(parallel=True)
def _ways(codes, columns, ways):
    for p in prange(ways.shape[0]):
        for r in range(ways.shape[1]):
            ways[p, r] = _way(codes, r, p * columns, columns)


@functools.cache
def _compiled(function: Any, *kinds: Any) -> Any:
    """Compile a packer for C-contiguous codes, writable or not, and `kinds` behind them."""
    function.compile((types.Array(types.int8, 2, "C", readonly=True), *kinds))
    return function


def pack(codes: NDArray[Any], dot: Dot) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return codes (K, N), int8 of any strides, packed for a dot: bytes, and ways of summing.

    The ways are (panels, steps), or none where the dot has one.
    """
    codes = np.ascontiguousarray(codes)
    K, N = codes.shape
    kind, size = (np.int8 if dot.group == 4 else np.int16), types.int64
    packed = aligned_empty(codes.size, kind)
    out = types.Array(types.int8 if dot.group == 4 else types.int16, 1, "C")
    _compiled(_pack, size, size, out)(codes, dot.columns, dot.group, packed)
    if dot.name != "maddubs":
        return packed.view(np.uint8), np.zeros((0, 0), np.uint8)
    ways = np.empty((-(-N // dot.columns), dot.padded(K) // _DEPTH), np.uint8)
    _compiled(_ways, size, types.Array(types.uint8, 2, "C"))(codes, dot.columns, ways)
    return packed.view(np.uint8), ways
