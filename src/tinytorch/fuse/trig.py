"""sin, cos and arcsin without a branch, for loops that become vector code.

sin and cos hold for |x| <= limit(x), 1e4 in float32 and 1e6 in float64: x is a whole number k of
quarter turns and a rest, found with parts of pi/2 whose products with k are exact (Cody and Waite).
Emitted code looks first whether a block has anything beyond, and calls the C library for it if so.
The polynomials are minimax fits (Remez).
"""

from __future__ import annotations

import math

from tinytorch.fuse.loops import choose, copysign, sqrt
from tinytorch.native import codecache, simd
from tinytorch.native.simd import constant, like, polynomial

limit = constant(1.0e4, 1.0e6)
_helper = codecache.jit(inline=True, flags=frozenset({"contract"}))

# NOTE: adding it rounds to a whole number, which is then in the low bits.
_ROUNDER = constant(1.5 * 2.0**23, 1.5 * 2.0**52)
_TWO_OVER_PI = constant(2 / math.pi, 2 / math.pi)
# pi/2 in parts, each (but the last) so short that its product with k is exact: 8 + 11 + 11 bits
# for float32, 33 + 33 for float64.
_FIRST = constant(1.5703125, 1.57079632673412561417)
_SECOND = constant(0.0004837512969970703, 6.07710050630396597660e-11)
_THIRD = constant(7.549533620476723e-08, 2.02226624879595063154e-21)
_LAST_PART = constant(2.563344151594519e-12, 0.0)

# (sin(r)/r - 1) / r^2 and (cos(r) - 1 + r^2/2) / r^4 of r^2, for |r| <= pi/4
_SIN_TAIL = polynomial(
    (-0.1666665422921976, 0.008332131732489102, -0.00019510871377003656),
    (
        -0.16666666666666666,
        0.008333333333333321,
        -0.00019841269841253604,
        2.755731921342277e-06,
        -2.5052104709508015e-08,
        1.6058340638488037e-10,
        -7.577398618558442e-13,
    ),
)
_COS_TAIL = polynomial(
    (0.04166664565914357, -0.00138873063559096, 2.4431241267687646e-05),
    (
        0.041666666666666664,
        -0.001388888888888887,
        2.48015873015699e-05,
        -2.7557319214687767e-07,
        2.087675421056304e-09,
        -1.1470275549137856e-11,
        4.737307554451422e-14,
    ),
)


@_helper
def _reduce(x):
    """Return how many quarter turns to the nearest multiple (as bits), and the rest."""
    t = x * _TWO_OVER_PI(x) + _ROUNDER(x)
    k = t - _ROUNDER(x)
    rest = ((x - k * _FIRST(x)) - k * _SECOND(x)) - k * _THIRD(x)
    return simd.bits(t), rest - k * _LAST_PART(x)


@_helper
def _turned(quarters, r):
    """Return sin(r + quarters * pi/2)."""
    z = r * r
    sine = r + r * (z * _SIN_TAIL(z))
    cosine = like(r, 1.0) - (like(r, 0.5) * z - z * z * _COS_TAIL(z))
    value = choose(simd.integer_and(quarters, 1) != 0, cosine, sine)
    return choose(simd.integer_and(quarters, 2) != 0, -value, value)


@_helper
def sin(x):
    """Sine, for |x| <= limit(x)."""
    quarters, r = _reduce(x)
    return _turned(quarters, r)


@_helper
def cos(x):
    """Cosine, for |x| <= limit(x)."""
    quarters, r = _reduce(x)
    return _turned(simd.integer_add(quarters, 1), r)


# (arcsin(s)/s - 1) / s^2 of s^2, for |s| <= 1/2
_ARCSIN_TAIL = polynomial(
    (
        0.16666753925064788,
        0.07495241836698269,
        0.04547709311915885,
        0.024147622624739756,
        0.0422185366393043,
    ),
    (
        0.16666666666665377,
        0.07500000000343941,
        0.04464285682293665,
        0.030381959348793098,
        0.022371753184386633,
        0.0173597753186256,
        0.013884563632950154,
        0.012173473197862149,
        0.006510136100550188,
        0.01957559611435017,
        -0.016296367533812040,
        0.03196033012040494,
    ),
)
_QUARTER_LOW = constant(-4.37113882867379e-08, 6.123233995736766e-17)
_QUARTER = constant(1.57079637050628662109375, 1.5707963267948966)


@_helper
def arcsin(x):
    """Arc sine; beyond 1/2 as pi/2 - 2 arcsin(sqrt((1 - x) / 2)). NaN outside -1 ... 1."""
    half = like(x, 0.5)
    a = abs(x)
    large = a > half
    z = choose(large, half - half * a, a * a)
    s = choose(large, sqrt(z), a)
    p = s + s * (z * _ARCSIN_TAIL(z))
    beyond = _QUARTER(x) - ((p + p) - _QUARTER_LOW(x))
    return copysign(choose(large, beyond, p), x)
