"""Rows of activations as codes, in the form in which the tiles read them, and what they stand for.

A float32 row becomes unsigned codes: value = (code - zero) * scale, zero itself exact. Dynamic: the
scale is that of the row's own range. Each value is read twice, from the nearest cache the second
time, and written as a byte or two.

The range is found on the bits: read as an integer whose magnitude bits are turned round where the
sign is set, a float32 has the order of the numbers, with NaN and infinity beyond the largest. So
integer minima and maxima, which vectorise, find both the range and whatever is not finite; such a
row has a scale of NaN, and NaN for all its outputs.
"""

from __future__ import annotations

import numpy as np

from tinytorch.native.codecache import jit
from tinytorch.native.pointers import at, bytes_at, codes_at, floats_at, ints_at, words_at
from tinytorch.native.simd import (
    bits,
    from_bits,
    integer_and,
    integer_subtract,
    like,
    select,
)

_MAGNITUDE = 0x7FFFFFFF
_INFINITE = 0x7F800000
_SMALLEST_NORMAL = np.float32(2.0**-126)
_ROUNDER = 1.5 * 2.0**23
_NAN = np.float32(np.nan)


@jit(inline=True)
def _ordered(x):
    """Return a float32's bits as an int32 that is ordered as the numbers are."""
    pattern = bits(x)
    turned = integer_subtract(np.int32(-0x7FFFFFFF - 1), pattern)
    return select(pattern < np.int32(0), turned, pattern)


@jit
def _extremes(x, K):
    low = high = np.int32(0)  # zero is always in the range
    for k in range(K):
        key = _ordered(x[k])
        low = select(key < low, key, low)
        high = select(key > high, key, high)
    return low, high


@jit
def _magnitude(key):
    """Return the absolute value that an ordered key stands for."""
    return from_bits(np.int32(abs(np.int64(key))))


@jit
def span_of(x, K, top):
    """Return the scale and the zero of a row's codes 0 … top; a scale of NaN unless all finite."""
    low, high = _extremes(x, K)
    if high >= np.int32(_INFINITE) or low <= np.int32(-_INFINITE):
        return _NAN, np.float32(0)
    below, above = _magnitude(low), _magnitude(high)
    scale = max(below / top + above / top, _SMALLEST_NORMAL)
    return scale, np.float32(min(np.rint(below / scale), top))


@jit
def _write(x, K, scale, zero, top, out):
    """Write the codes of K values; `out` holds bytes, or int16s."""
    inverse = like(scale, 1.0) / scale
    rounder, nothing = like(scale, _ROUNDER), like(scale, 0.0)
    for k in range(K):
        value = x[k] * inverse + zero
        value = select(value > nothing, value, nothing)
        value = select(value < top, value, top)
        out[k] = integer_and(bits(value + rounder), np.int32(255))


@jit
def _clear(out, first, last):
    for k in range(first, last):
        out[k] = 0


@jit
def _has_nan(x, K):
    most = np.int32(0)
    for k in range(K):
        size = integer_and(bits(x[k]), np.int32(_MAGNITUDE))
        most = select(size > most, size, most)
    return most > np.int32(_INFINITE)


@jit
def _shift(x, x_row, rows, K, padded, offset, out):
    for i in range(rows):
        row, codes = at(x, i * x_row), at(out, i * padded)
        for k in range(K):
            codes[k] = np.int32(row[k]) + offset
        _clear(codes, K, padded)


@jit
def _quantise(x, x_row, rows, K, padded, static, top, out, scales, zeros):
    for i in range(rows):
        row, codes = at(x, i * x_row), at(out, i * padded)
        scale, zero = static[0], static[1]
        if scale <= 0:
            scale, zero = span_of(row, K, top)
        elif _has_nan(row, K):
            scale = _NAN
        scales[i], zeros[i] = scale, np.int32(zero)
        if scale == scale:
            _write(row, K, scale, zero, top, codes)
        else:
            _clear(codes, 0, K)
        _clear(codes, K, padded)


def quantise_bytes(x, x_row, rows, K, padded, scale, zero, top, out, scales, zeros):
    """Quantise rows into bytes; see below."""
    static, most = (np.float32(scale), np.float32(zero)), np.float32(top)
    marks = floats_at(scales), ints_at(zeros)
    _quantise(floats_at(x), x_row, rows, K, padded, static, most, bytes_at(out), *marks)


def quantise_words(x, x_row, rows, K, padded, scale, zero, top, out, scales, zeros):
    """Quantise rows into int16s; see below."""
    static, most = (np.float32(scale), np.float32(zero)), np.float32(top)
    marks = floats_at(scales), ints_at(zeros)
    _quantise(floats_at(x), x_row, rows, K, padded, static, most, words_at(out), *marks)


@jit
def _mark(rows, scale, zero, scales, zeros):
    row_scales, row_zeros = floats_at(scales), ints_at(zeros)
    for i in range(rows):
        row_scales[i], row_zeros[i] = np.float32(scale), np.int32(zero)


def shift_bytes(x, x_row, rows, K, padded, scale, zero, top, out, scales, zeros):
    """Shift codes into bytes; see below."""
    _shift(codes_at(x), x_row, rows, K, padded, np.int32(top), bytes_at(out))
    _mark(rows, scale, zero, scales, zeros)


def shift_words(x, x_row, rows, K, padded, scale, zero, top, out, scales, zeros):
    """Shift codes into int16s; see below."""
    _shift(codes_at(x), x_row, rows, K, padded, np.int32(top), words_at(out))
    _mark(rows, scale, zero, scales, zeros)


# Each takes (x, x_row, rows, K, padded, scale, zero, top, out, scales, zeros): addresses but for
# the counts, `x_row` in elements, which are neighbours in a row. `padded` codes are written for
# every row, zeros behind the K-th; `scales` and `zeros` get what the row's codes stand for.
#
# quantise: float32 to codes 0 … top; `scale` and `zero` are given, or each row's own if scale is 0.
# shift: int8 codes, `top` added to each; `scale` and `zero` are what all rows then stand for.
#
# NOTE: four functions, not closures over the pointers: those are never found in the cache on disk.
