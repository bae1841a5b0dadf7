"""Scalar intrinsics that LLVM widens to whole vectors.

Numba's Python has no word for "the bits of a float" or "both sides of a choice"; the intrinsics
here add them. Each works on scalars and is one LLVM instruction or a chain of them without a
branch or a call, so that a loop around it becomes vector code at whatever width the CPU has.
"""

from __future__ import annotations

import functools

from llvmlite import ir

from tinytorch.native import codecache

# NOTE: not `import numba`: the thread pools must be prepared before Numba is loaded.
_numba = codecache.numba()
_types = _numba.types
_intrinsic = _numba.extending.intrinsic

# ---------------------------------------------------------------- intrinsics on one number
# "Like x" below means of x's own type: float32 code never widens to float64, and int32 arithmetic,
# which Numba would widen to int64, stays in its lane.

_BITS_OF = {_types.float32: _types.int32, _types.float64: _types.int64}
_FLOAT_OF = {integer: real for real, integer in _BITS_OF.items()}


def _bitcast(context, builder, signature, args):
    return builder.bitcast(args[0], context.get_value_type(signature.return_type))


@_intrinsic
def bits(typing_context, x):
    """Return the bits of a float32 as an int32, those of a float64 as an int64."""
    return (_BITS_OF[x](x), _bitcast) if x in _BITS_OF else None


@_intrinsic
def from_bits(typing_context, i):
    """Return the float32 that has the bits of an int32, the float64 that has those of an int64."""
    return (_FLOAT_OF[i](i), _bitcast) if i in _FLOAT_OF else None


def _integer_operator(instruction):
    @_intrinsic
    def operate(typing_context, i, k):
        if i not in _FLOAT_OF or not isinstance(k, _types.Integer):
            return None

        def generate(context, builder, signature, args):
            return getattr(builder, instruction)(args[0], context.cast(builder, args[1], k, i))

        return i(i, k), generate

    return operate


# Each takes an int32 or int64 and an integer, and returns one like the first; overflow wraps.
integer_add = _integer_operator("add")
integer_subtract = _integer_operator("sub")
integer_and = _integer_operator("and_")
integer_or = _integer_operator("or_")
shift_left = _integer_operator("shl")
shift_right = _integer_operator("lshr")  # zeros come in from the left


@_intrinsic
def select(typing_context, condition, when_true, when_false):
    """Return one of two numbers of the same type, both computed, without a branch."""
    if condition != _types.boolean or when_true != when_false:
        return None

    def generate(context, builder, signature, args):
        return builder.select(*args)

    return when_true(condition, when_true, when_false), generate


def _calls(name, *operands):
    x = operands[0]
    if x not in _BITS_OF or any(operand != x for operand in operands):
        return None

    def generate(context, builder, signature, args):
        real = args[0].type
        function_type = ir.FunctionType(real, [real] * len(args))
        return builder.call(builder.module.declare_intrinsic(name, [real], function_type), args)

    return x(*operands), generate


@_intrinsic
def fma(typing_context, a, b, c):
    """Return a*b + c, rounded once.

    NOTE: at the level 'v128' x86-64 has no such instruction, and this becomes a slow call: prefer
    a plain `a * b + c`, which `jit` fuses wherever the CPU can.
    """
    return _calls("llvm.fma", a, b, c)


@_intrinsic
def rint(typing_context, x):
    """Return x rounded to the nearest integer, ties to even, like x."""
    return _calls("llvm.rint", x)


@_intrinsic
def copysign(typing_context, magnitude, sign):
    """Return the magnitude of the first with the sign bit of the second, even of a zero or NaN."""
    return _calls("llvm.copysign", magnitude, sign)


@_intrinsic
def like(typing_context, x, value):
    """Return `value` converted to the type of the float x: `like(x, 0.5)` is x's own one half."""
    if x not in _BITS_OF:
        return None

    def generate(context, builder, signature, args):
        return context.cast(builder, args[1], value, x)

    return x(x, value), generate


def _typed(x, single, double):
    return {_types.float32: single, _types.float64: double}.get(_FLOAT_OF.get(x, x))


def constant(single, double):
    """Make a function of x (a float, or its bits) that returns `single` or `double` by x's width.

    Python floats come out as floats of that width, Python integers as integers of it.
    """

    @_intrinsic
    def choose(typing_context, x):
        value = _typed(x, single, double)
        if value is None:
            return None
        real = _FLOAT_OF.get(x, x)
        kind = real if isinstance(value, float) else _BITS_OF[real]

        def generate(context, builder, signature, args):
            return context.get_constant(kind, value)

        return kind(x), generate

    return choose


def _horner(builder, terms, x):
    """Emit the polynomial in x with these terms, the constant one first."""
    return functools.reduce(
        lambda total, term: builder.fadd(builder.fmul(total, x), term), reversed(terms)
    )


def polynomial(single, double):
    """Make a function of a float x: the polynomial with these coefficients, constant term first.

    `single` serves float32, `double` float64. Horner's rule, unrolled, fused where the CPU can;
    past a dozen terms two chains (even and odd powers), for one would be waited on.
    """

    @_intrinsic
    def evaluate(typing_context, x):
        if x not in _BITS_OF:
            return None

        def generate(context, builder, signature, args):
            terms = [context.get_constant(x, value) for value in _typed(x, single, double)]
            if len(terms) <= 12:
                return _horner(builder, terms, args[0])
            square = builder.fmul(args[0], args[0])
            odd = builder.fmul(_horner(builder, terms[1::2], square), args[0])
            return builder.fadd(odd, _horner(builder, terms[0::2], square))

        return x(x), generate

    return evaluate
