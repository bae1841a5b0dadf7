"""An encoder's rows as codes: each part of a row in a scale of its own, in one pass over it.

value = (code - zero) * scale, codes 0 … top. What makes a row finds its range on the way, so that
all that is left is a multiplication, an addition and a rounding: the scale leaves a code free at
the top and zero is rounded upwards, so that no code needs to be held inside 0 … top.

Rows with a NaN or an infinity have a scale of NaN. They are told by what finds the range: layer
norm by a row's mean, attention's output by its bits; an inner row is finite if its source is, for
no weight in codes is not.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir

from tinytorch.native.codecache import jit
from tinytorch.native.encoder.rows import add_bias, squares
from tinytorch.native.encoder.settle import Vectors
from tinytorch.native.gemm.microkernel import LANES
from tinytorch.native.int8.rows import _extremes, _magnitude
from tinytorch.native.pointers import at, cgutils, intrinsic, types
from tinytorch.native.simd import like

_INFINITE = 0x7F800000
_SMALLEST_NORMAL = np.float32(2.0**-126)
_ROUNDER = 1.5 * 2.0**23
_LONG, _REAL = ir.IntType(64), ir.FloatType()
# Vectors that become codes at once: a whole vector of bytes.
_AT_ONCE = 4
_FLOATS = types.CPointer(types.float32)


def _coding(bits: int):
    @intrinsic
    def write(typing_context, x, width, inverse, zero, out):
        def generate(context, builder, signature, args):
            v = Vectors(builder)
            source, width, inverse, zero, out = args
            factor, offset = v.spread(inverse), v.spread(builder.fadd(zero, _REAL(_ROUNDER)))
            target = builder.inttoptr(out, ir.IntType(bits).as_pointer())

            def chunk(k, count):
                parts = [
                    v.fused(v.load(v.place(source, k, i * v.lanes)), factor, offset)
                    for i in range(count)
                ]
                while len(parts) > 1:
                    pairs = zip(parts[::2], parts[1::2], strict=True)
                    parts = [_joined(builder, a, b) for a, b in pairs]
                whole = builder.bitcast(parts[0], ir.VectorType(ir.IntType(32), count * v.lanes))
                codes = builder.trunc(whole, ir.VectorType(ir.IntType(bits), count * v.lanes))
                place = builder.bitcast(v.place(target, k), codes.type.as_pointer())
                builder.store(codes, place, align=1)

            step = _LONG(_AT_ONCE * v.lanes)
            whole = builder.mul(builder.sdiv(width, step), step)
            with cgutils.for_range_slice(builder, _LONG(0), whole, step) as (k, _):
                chunk(k, _AT_ONCE)
            with cgutils.for_range_slice(builder, whole, width, _LONG(v.lanes)) as (k, _):
                chunk(k, 1)
            return context.get_dummy_value()

        real, size = types.float32, types.int64
        return types.void(_FLOATS, size, real, real, size), generate

    return write


def _joined(builder, a, b):
    count = a.type.count
    places = ir.Constant(ir.VectorType(ir.IntType(32), 2 * count), list(range(2 * count)))
    return builder.shuffle_vector(a, b, places)


# (x, width, inverse of the scale, zero, address): write `width` codes, whole vectors of them. A
# float that is rounded to an integer by its size has it in its lowest bits.
_write_bytes, _write_words = _coding(8), _coding(16)


@intrinsic
def _scale_and_mark(typing_context, y, mean, factor, gain, shift, even, width, out, marks):
    """Write the norm of a row to y, times `even` to `out`, and that one's range to `marks`."""

    def generate(context, builder, signature, args):
        v = Vectors(builder)
        y, mean, factor, gain, shift, even, width, out, marks = args
        mean, factor = v.spread(mean), v.spread(factor)
        low, high = (cgutils.alloca_once_value(builder, v.like(0.0)) for _ in range(2))
        with cgutils.for_range_slice(builder, _LONG(0), width, _LONG(v.lanes)) as (k, _):
            value = builder.fmul(builder.fsub(v.load(v.place(y, k)), mean), factor)
            value = v.fused(value, v.load(v.place(gain, k)), v.load(v.place(shift, k)))
            v.store(value, v.place(y, k))
            value = builder.fmul(value, v.load(v.place(even, k)))
            v.store(value, v.place(out, k))
            builder.store(v.least(value, builder.load(low)), low)
            builder.store(v.most(value, builder.load(high)), high)
        v.store(builder.load(low), marks)
        v.store(builder.load(high), v.place(marks, v.lanes))
        return context.get_dummy_value()

    real = types.float32
    signature = (_FLOATS, real, real, _FLOATS, _FLOATS, _FLOATS, types.int64, _FLOATS, _FLOATS)
    return types.void(*signature), generate


@jit
def _marked(marks):
    """Return the least and the largest of a row's marks."""
    count = LANES(marks[0])
    low, high = marks[0], marks[count]
    for k in range(1, count):
        low, high = min(low, marks[k]), max(high, marks[count + k])
    return low, high


@jit
def _span(low, high, top):
    """Return the scale and the zero of codes 0 … top for values in low … high, which hold 0."""
    scale = max(high / (top - like(top, 1.0)) - low / (top - like(top, 1.0)), _SMALLEST_NORMAL)
    if not scale < like(top, math.inf):
        return like(top, math.nan), like(top, 0.0)
    return scale, like(top, math.ceil(-low / scale))


@jit
def _write(x, width, scale, zero, out, code_bytes):
    if code_bytes == 1:
        _write_bytes(x, width, like(scale, 1.0) / scale, zero, out)
    else:
        _write_words(x, width, like(scale, 1.0) / scale, zero, out)


@jit
def _put(x, width, span, place, scale_at, zero_at):
    """Write a row's codes; place: (address, bytes of a code)."""
    scale, zero = span
    scale_at[0], zero_at[0] = scale, zero
    _write(x, width, scale, zero, place[0], place[1])


@jit
def normalise(y, bias, width, norm, even, about, place, numbers):
    """Write the layer norm of y + bias to y, and the codes of that times `even` to a place.

    norm: (gain, shift, eps); about: (room for a row and its marks, the codes' top); place: the
    codes' (address, bytes of a code); numbers: of (scale, zero) the addresses.
    """
    gain, shift, eps = norm
    row, top = about
    count = like(y[0], width)
    mean = add_bias(y, bias, width) / count
    spread = squares(y, mean, width) / count + like(mean, eps)
    factor = like(mean, 1.0) / like(mean, math.sqrt(spread))
    marks = at(row, width)
    _scale_and_mark(y, mean, factor, gain, shift, even, width, row, marks)
    low, high = _marked(marks)
    span = _span(low, high, top)
    if not factor > like(top, 0.0):
        span = like(top, math.nan), like(top, 0.0)
    _put(row, width, span, place, numbers[0], numbers[1])


@jit
def marked(x, width, marks, source_scale, top, place, numbers):
    """Write the codes of a row whose range is in its marks; NaN if what it was made of is."""
    low, high = _marked(marks)
    span = _span(low, high, top)
    if source_scale != source_scale:
        span = like(top, math.nan), like(top, 0.0)
    _put(x, width, span, place, numbers[0], numbers[1])


@jit
def plain(x, width, top, place, numbers):
    """Write the codes of a row of which nothing is known."""
    low, high = _extremes(x, width)
    if high >= np.int32(_INFINITE) or low <= np.int32(-_INFINITE):
        span = like(top, math.nan), like(top, 0.0)
    else:
        span = _span(-_magnitude(low), _magnitude(high), top)
    _put(x, width, span, place, numbers[0], numbers[1])
