"""exp, log, tanh, erf and their kin as scalar functions that loops turn into vector code.

Call them inside a function compiled by `jit`, on a float32 or a float64: the arithmetic stays in
that type. None has a branch, a table or a call, so `for i in range(n): out[i] = exp(x[i])` runs at
the CPU's full vector width, which a call into the C library never does.

All share one idea: split off a power of two exactly (x = n ln 2 + r, or x = 2^n m), use a short
polynomial on what is left, put the power of two back through the exponent's bits. NaN, infinities,
signed zeros, overflow and gradual underflow come out as in NumPy. The polynomials are minimax fits
(Remez), weighted by what their error does to the result.

Each states the largest error seen, in units in the last place (ulp) of the result, rounded up to a
tenth: over all 2^32 inputs for float32 (a part of them where the CPU can't fuse a*b + c), and over
400,000 random and adversarial ones for float64. `python tests/native/test_vmath.py` measures them
again.
"""

from __future__ import annotations

import math

from tinytorch.native import codecache, fits, level, simd
from tinytorch.native.simd import constant, like, polynomial, select

# NOTE: 'contract' lets a*b + c become one instruction, and the error bounds hold with or without
# it. Not 'nsz', which would lose the sign of -0.0; not 'arcp', which lets a division become a
# multiplication by a rounded reciprocal.
_helper = codecache.jit(inline=True, flags=frozenset({"contract"}))

_SHIFT = constant(23, 52)  # bits of the stored significand
_TWO_STORED = constant(2.0**23, 2.0**52)
_BIAS = constant(127.0, 1023.0)  # of the exponent
_INFINITY = constant(math.inf, math.inf)

_LOG2_E = constant(math.log2(math.e), math.log2(math.e))
# NOTE: the high part ends in zeros, so that n * _LN2_HIGH is exact for every n that occurs.
_LN2_HIGH = constant(355 / 512, 6.93147180369123816490e-01)
_LN2_LOW = constant(math.log(2) - 355 / 512, 1.90821492927058770002e-10)

# NOTE: adding 1.5 * 2^23 (2^52) to a float32 (float64) rounds it to an integer, ties to even, and
# leaves that integer in the low bits: cheaper than a conversion, which AVX2 lacks for int64. The
# exponent's bias rides along, once or twice, so that one shift makes the bits a power of two.
_ROUNDER = constant(1.5 * 2.0**23 + 127, 1.5 * 2.0**52 + 1023)
_ROUNDER_TWICE = constant(1.5 * 2.0**23 + 254, 1.5 * 2.0**52 + 2046)

# (e^r - 1 - r) / r^2 for |r| <= ln(2)/2
_EXP_TAIL = polynomial(
    (
        0.4999999701976776,
        0.1666654348373413,
        0.04166720062494278,
        0.008366546593606472,
        0.0013882486382499337,
    ),
    (
        0.5000000000000006,
        0.16666666666666588,
        0.041666666666576466,
        0.008333333333389726,
        0.0013888888931667467,
        0.00019841269718733211,
        2.4801505142309477e-05,
        2.755740766201245e-06,
        2.7626092976271357e-07,
        2.5053784467289288e-08,
    ),
)


@_helper
def _at_least(x, low):
    return select(x < low, low, x)  # a NaN stays


@_helper
def _at_most(x, high):
    return select(x > high, high, x)


@_helper
def _power_of_two(biased):
    """Return 2^n from an integer whose low bits hold n + bias."""
    return simd.from_bits(simd.shift_left(biased, _SHIFT(biased)))


@_helper
def _split(x, rounder):
    """Write x as n ln 2 + r; return bits that hold n and the rounder's bias, and e^r - 1."""
    t = x * _LOG2_E(x) + rounder
    n = t - rounder
    r = (x - n * _LN2_HIGH(x)) - n * _LN2_LOW(x)
    return simd.bits(t), r + r * r * _EXP_TAIL(r)


# Outside these, exp has reached 0 and infinity.
_EXP_LOWEST = constant(-104.0, -746.0)
_EXP_HIGHEST = constant(89.0, 710.0)


@_helper
def exp(x):
    """e^x. Largest error: 1.1 ulp in float32, 1.0 in float64."""
    one = like(x, 1.0)
    x = _at_most(_at_least(x, _EXP_LOWEST(x)), _EXP_HIGHEST(x))
    biased_twice, m = _split(x, _ROUNDER_TWICE(x))
    # NOTE: in two steps, for neither 2^128 nor 2^-149 is a normal float32.
    half = simd.shift_right(biased_twice, 1)
    rest = simd.integer_subtract(biased_twice, half)
    return (one + m) * _power_of_two(half) * _power_of_two(rest)


_EXP_VANISHES = constant(-88.0, -709.0)  # 2^n has run down to 0 there
_LN2 = constant(0.6931471824645996, math.log(2))  # float32's is 0.02 eps off, float64's 0.15


@_helper
def _less_one_product(x, n):
    return x - n * _LN2(x)


@_helper
def _less_two_products(x, n):
    return (x - n * _LN2_HIGH(x)) - n * _LN2_LOW(x)


# NOTE: one product is enough where it is not rounded before it is subtracted.
_less_multiples = _less_two_products if level.isa() == "v128" else _less_one_product


@_helper
def exp_nonpositive(x):
    """e^x for an x <= 0 that is a rounded difference, with two thirds of the operations of `exp`.

    Nothing overflows, and what would be subnormal may come out as 0. Multiples of ln 2 are taken
    off in one step, which errs by less than eps |x| / 40 in float32 and eps |x| / 6 in float64:
    little beside the eps |x| / 2 by which x itself, a number less the largest of its row, is off.
    Largest error: 1.1 ulp in float32, 1.0 in float64, apart from that.
    """
    x, rounder = _at_least(x, _EXP_VANISHES(x)), _ROUNDER(x)
    t = x * _LOG2_E(x) + rounder
    r = _less_multiples(x, t - rounder)
    scale = _power_of_two(simd.bits(t))
    return scale * (r + r * r * _EXP_TAIL(r)) + scale


_EXPM1_LOWEST = constant(-20.0, -40.0)  # below, expm1 has reached -1


@_helper
def expm1(x):
    """e^x - 1. Largest error: 1.7 ulp in float32, 2.2 in float64."""
    clamped = _at_most(_at_least(x, _EXPM1_LOWEST(x)), _EXP_HIGHEST(x))
    biased, m = _split(clamped, _ROUNDER(x))
    # NOTE: 2^(n-1) and a doubling at the end, for 2^128 is not a float32; but a subnormal x must
    # not be halved, and near 0 the answer is m itself.
    scale = _power_of_two(simd.integer_subtract(biased, 1))
    scaled = scale * m + (scale - like(x, 0.5))
    return simd.copysign(select(abs(x) < like(x, 0.25), m, scaled + scaled), x)


# NOTE: half of 2^n, for 2^128 is not a float32; the doubling is part of the sum's fused add.
_ROUNDER_HALF = constant(1.5 * 2.0**23 + 126, 1.5 * 2.0**52 + 1022)
_ONE_PLUS_EXP_LOWEST = constant(-87.0, -708.0)  # e^x is nothing beside 1


@_helper
def one_plus_exp(x):
    """1 + e^x, the denominator of a sigmoid: a fifth cheaper than `exp` and a sum.

    What e^x loses when it is tiny is nothing beside 1, so one power of two scales it, not two.
    Largest error: 1.3 ulp in float32, 1.0 in float64.
    """
    clamped = _at_most(_at_least(x, _ONE_PLUS_EXP_LOWEST(x)), _EXP_HIGHEST(x))
    biased, m = _split(clamped, _ROUNDER_HALF(x))
    scale = _power_of_two(biased)
    return like(x, 2.0) * (scale * m + scale) + like(x, 1.0)


@_helper
def _expm1_of_negative(x):
    """e^x - 1 for -60 < x <= 0, but for the sign of a zero."""
    biased, m = _split(x, _ROUNDER(x))
    scale = _power_of_two(biased)
    return scale * m + (scale - like(x, 1.0))


@_helper
def tanh(x):
    """Hyperbolic tangent, as -t / (t + 2) with t = expm1(-2 |x|).

    Largest error: 2.5 ulp in float32, 2.5 in float64.
    """
    t = _expm1_of_negative(_at_least(like(x, -2.0) * abs(x), _EXPM1_LOWEST(x)))
    return simd.copysign(t / (t + like(x, 2.0)), x)


@_helper
def sigmoid(x):
    """1 / (1 + e^-x); for negative x as e^x / (1 + e^x), which underflows as gradually as e^x.

    Largest error: 2.5 ulp in float32, 2.3 in float64.
    """
    one = like(x, 1.0)
    e = exp(-abs(x))
    return select(x < like(x, 0.0), e, one) / (one + e)


_SQRT_HALF_BITS = constant(0x3F3504F3, 0x3FE6A09E667F3BCD)
_ONE_BITS = constant(0x3F800000, 0x3FF0000000000000)
_SIGNIFICAND = constant((1 << 23) - 1, (1 << 52) - 1)
_SMALLEST_NORMAL = constant(2.0**-126, 2.0**-1022)

# (log((1 + s) / (1 - s)) - 2 s) / s^3 as a function of s^2, for 1 + s = m (1 - s)
_LOG_TAIL = polynomial(
    (0.6666677594184875, 0.399774968624115, 0.2987309396266937),
    (
        0.6666666666666735,
        0.39999999999411096,
        0.2857142874326196,
        0.22222198476020746,
        0.18183569739586306,
        0.15313903221254124,
        0.14797508207103716,
    ),
)


@_helper
def _split_log(x):
    """Write a normal x > 0 as 2^k m, sqrt(1/2) <= m < sqrt(2); return k + bias (as bits) and m."""
    root = _SQRT_HALF_BITS(x)
    shifted = simd.integer_add(simd.bits(x), simd.integer_subtract(_ONE_BITS(x), root))
    m = simd.from_bits(simd.integer_add(simd.integer_and(shifted, _SIGNIFICAND(x)), root))
    return simd.shift_right(shifted, _SHIFT(x)), m


@_helper
def _log_sum(k, f):
    """Return k ln 2 + log(1 + f) for sqrt(1/2) <= 1 + f < sqrt(2), the small terms first."""
    s = f / (like(f, 2.0) + f)
    z = s * s
    h = like(f, 0.5) * f * f
    small = s * (h + z * _LOG_TAIL(z)) + k * _LN2_LOW(f)
    return k * _LN2_HIGH(f) - ((h - small) - f)


@_helper
def _biased_to_float(biased):
    two_stored = _TWO_STORED(biased)
    return simd.from_bits(simd.integer_or(biased, simd.bits(two_stored))) - two_stored


@_helper
def _log_limits(x, value, zero_at):
    """Put the limits in: infinity and NaN pass, -infinity at the zero, NaN below it."""
    infinity = _INFINITY(x)
    value = select(x < infinity, value, x)
    value = select(x == zero_at, -infinity, value)
    return select(x < zero_at, infinity - infinity, value)


@_helper
def log(x):
    """Natural logarithm. Largest error: 0.9 ulp in float32, 0.9 in float64."""
    one = like(x, 1.0)
    tiny = x < _SMALLEST_NORMAL(x)
    biased, m = _split_log(select(tiny, x * _TWO_STORED(x), x))
    bias = select(tiny, _BIAS(x) + simd.like(x, _SHIFT(x)), _BIAS(x))
    return _log_limits(x, _log_sum(_biased_to_float(biased) - bias, m - one), like(x, 0.0))


@_helper
def log1p(x):
    """log(1 + x), with what 1 + x loses in rounding carried along.

    Largest error: 1.4 ulp in float32, 1.2 in float64.
    """
    one = like(x, 1.0)
    u = one + x
    back = u - one
    lost = (x - back) + (one - (u - back))
    biased, m = _split_log(u)
    shifted_k = simd.integer_subtract(simd.shift_left(biased, _SHIFT(x)), _ONE_BITS(x))
    scale = simd.from_bits(simd.integer_subtract(_ONE_BITS(x), shifted_k))  # 2^-k
    lost = select(x < _TWO_STORED(x) * like(x, 4.0), lost * scale, like(x, 0.0))
    value = _log_sum(_biased_to_float(biased) - _BIAS(x), (m - one) + lost)
    return simd.copysign(_log_limits(x, value, -one), x)


_ERF_REACHES_ONE = constant(4.0, 6.0)


@_helper
def _log_erfc(y):
    y = _at_most(y, _ERF_REACHES_ONE(y))
    return -(y + y * fits.ERF_EXPONENT(y))


@_helper
def erf(x):
    """Error function, as 1 - exp(log(erfc(|x|))): one polynomial serves the whole range.

    Largest error: 2.0 ulp in float32, 1.8 in float64.
    """
    return simd.copysign(_expm1_of_negative(_log_erfc(abs(x))), x)


# 2^f for |f| <= 1/2
_EXP2 = polynomial(
    (
        1.0000001192092896,
        0.6931469440460205,
        0.24022118747234344,
        0.05550713464617729,
        0.009675564244389534,
        0.0013276428217068315,
    ),
    (
        1.0,
        0.6931471805599498,
        0.24022650695908765,
        0.05550410866445827,
        0.009618129108035353,
        0.0013333558228658814,
        0.00015403529960528146,
        1.5252658056279568e-05,
        1.3215663001243562e-06,
        1.020855009184457e-07,
        7.037269270007082e-09,
    ),
)


@_helper
def _exp2(w):
    """2^w for w between -bias (0 there) and bias + 1 (infinity there)."""
    rounder = _ROUNDER(w)
    t = w + rounder
    return _EXP2(w - (t - rounder)) * _power_of_two(simd.bits(t))


_MINUS_TWO_LOG2_E = -2.0 * math.log2(math.e)
_EXP2_LOWEST = constant(-127.0, -1023.0)  # 2^w has run down to 0
_EXP2_HIGHEST = constant(128.0, 1024.0)  # 2^w has reached infinity


@_helper
def one_plus_tanh(x):
    """1 + tanh(x), as 2 / (1 + 2^w) with w = -2 x log2(e): nothing cancels, for no sign is split
    off, and what is left of tanh's relative accuracy near 0 is nothing beside 1.

    Largest error: 2.0 eps in float32, 2.0 in float64; where x < -1 it is less than tanh's own.
    """
    w = like(x, _MINUS_TWO_LOG2_E) * x
    w = _at_most(_at_least(w, _EXP2_LOWEST(x)), _EXP2_HIGHEST(x))
    return like(x, 2.0) / (like(x, 1.0) + _exp2(w))


@_helper
def gelu_erf(x):
    """GELU: x/2 (1 + erf(x / sqrt(2))), through erfc where x is negative, so that nothing cancels.

    Largest error: 1.2 eps |x| in float32, 1.2 in float64, and 5 ulp of the result where x > -1.
    Where the result is below eps |x|, it may be -0; at -infinity, where the formula is NaN, it is.
    """
    zero, half, one = like(x, 0.0), like(x, 0.5), like(x, 1.0)
    y = abs(x) * like(x, math.sqrt(0.5))
    tail = half * _exp2(_log_erfc(y) * _LOG2_E(x))
    tail = select(y > _ERF_REACHES_ONE(x), zero, tail)
    bounded = _at_least(x, -like(x, 2.0) * _ERF_REACHES_ONE(x))
    return bounded * select(x > zero, one - tail, tail)


_GELU_LINEAR = -2.0 * math.sqrt(2.0 / math.pi) * math.log2(math.e)
_GELU_CUBIC = 0.044715 * _GELU_LINEAR
# Where 2^w has overflowed to infinity, and where its exponent's bits have run down to 0.
_GELU_LOWEST = constant(-10.06, -21.1597)
_GELU_HIGHEST = constant(10.031, 21.1526)


@_helper
def gelu_tanh(x):
    """GELU: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), as x / (1 + 2^w) with w cubic in x.

    Largest error: 1.1 eps |x| in float32, 1.2 in float64, and 5 ulp of the result where x > -1.
    At -infinity, where the formula is NaN, it is the limit, -0. Kept to 15 floating-point
    instructions in float32, because a loop over it competes with a plain copy.
    """
    x = _at_least(x, _GELU_LOWEST(x))
    y = _at_most(x, _GELU_HIGHEST(x))
    w = y * (like(x, _GELU_LINEAR) + like(x, _GELU_CUBIC) * (y * y))
    return x / (like(x, 1.0) + _exp2(w))
