"""What emitted code calls besides `vmath`: loads and stores that keep loops vectorisable, folds.

NOTE: loads and stores carry `noalias` scopes. Without them LLVM must check at run time that no two
of the arrays overlap, and gives up vectorising when there are more than a handful. The caller's
duty: an output overlaps no other array of the program (in-place use makes both one array).
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir

from tinytorch.native import codecache
from tinytorch.native.simd import like

_numba = codecache.numba()
_types = _numba.types
_intrinsic = _numba.extending.intrinsic
_helper = codecache.jit(inline=True, flags=frozenset())
_BYTES = ir.IntType(8).as_pointer()
_LINE_BYTES = 64


def _annotate(module, access, scope, scopes):
    domain = module.add_metadata(["tinytorch.fuse"])
    nodes = [module.add_metadata([f"array {i}", domain]) for i in range(scopes)]
    access.set_metadata("alias.scope", module.add_metadata([nodes[scope]]))
    others = [node for i, node in enumerate(nodes) if i != scope]
    if others:
        access.set_metadata("noalias", module.add_metadata(others))


def _pointer(context, builder, array_type, array, index_type, index, unit):
    """Return the address of one element; `unit`: the last axis has no gaps."""
    struct = context.make_array(array_type)(context, builder, array)
    intp = context.get_value_type(_types.intp)
    indices = _numba.core.cgutils.unpack_tuple(builder, index, len(index_type))
    strides = _numba.core.cgutils.unpack_tuple(builder, struct.strides, array_type.ndim)
    leading = len(indices) - 1 if unit else len(indices)
    pointer = struct.data
    if leading:
        offset = intp(0)
        for i in range(leading):
            offset = builder.add(offset, builder.mul(indices[i], strides[i]))
        raw = builder.bitcast(pointer, ir.IntType(8).as_pointer())
        pointer = builder.bitcast(builder.gep(raw, [offset]), struct.data.type)
    return builder.gep(pointer, [indices[-1]]) if unit else pointer


@_intrinsic(prefer_literal=True)
def load(typing_context, array, index, unit, scope, scopes):
    """Return array[index]: a tuple of non-negative integers, never checked."""
    values = [t.literal_value for t in (unit, scope, scopes)]

    def generate(context, builder, signature, args):
        data = context.data_model_manager[array.dtype]
        pointer = _pointer(context, builder, array, args[0], index, args[1], values[0])
        loaded = builder.load(pointer, align=None if array.aligned else 1)
        _annotate(builder.module, loaded, values[1], values[2])
        return data.from_data(builder, loaded)

    return array.dtype(array, index, unit, scope, scopes), generate


@_intrinsic(prefer_literal=True)
def store(typing_context, array, index, value, unit, scope, scopes):
    """Set array[index] to a value of the array's own dtype."""
    values = [t.literal_value for t in (unit, scope, scopes)]

    def generate(context, builder, signature, args):
        data = context.data_model_manager[array.dtype]
        pointer = _pointer(context, builder, array, args[0], index, args[1], values[0])
        number = context.cast(builder, args[2], value, array.dtype)
        stored = builder.store(
            data.as_data(builder, number), pointer, align=None if array.aligned else 1
        )
        _annotate(builder.module, stored, values[1], values[2])
        return context.get_dummy_value()

    return _types.none(array, index, value, unit, scope, scopes), generate


@_intrinsic(prefer_literal=True)
def stream(typing_context, array, index, value, unit, scope, scopes):
    """Set array[index] as `store` does, by whole vectors that go past the caches.

    NOTE: only for a loop from one line's beginning to another's (`lead`). LLVM makes such vector
    stores of those alone that it is told are aligned: the vectors are, the single elements that
    they are made of are not. Where a loop stays scalar, no CPU asks that of a scalar store.
    """
    values = [t.literal_value for t in (unit, scope, scopes)]

    def generate(context, builder, signature, args):
        data = context.data_model_manager[array.dtype]
        pointer = _pointer(context, builder, array, args[0], index, args[1], values[0])
        number = context.cast(builder, args[2], value, array.dtype)
        stored = builder.store(data.as_data(builder, number), pointer, align=_LINE_BYTES)
        one = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
        stored.set_metadata("nontemporal", one)
        _annotate(builder.module, stored, values[1], values[2])
        return context.get_dummy_value()

    return _types.none(array, index, value, unit, scope, scopes), generate


@_intrinsic
def _address(typing_context, array, index):
    def generate(context, builder, signature, args):
        pointer = _pointer(context, builder, array, args[0], index, args[1], True)
        return builder.ptrtoint(pointer, context.get_value_type(_types.intp))

    return _types.intp(array, index), generate


@_helper
def lead(array, index, count):
    """Return how many of `count` elements from array[index] on come before a line's beginning.

    All, where no element begins there.
    """
    gap = -_address(array, index) & (_LINE_BYTES - 1)
    return count if gap % array.itemsize else min(count, gap // array.itemsize)


@_intrinsic
def settle(typing_context):
    """Have what went past the caches be there for every thread before anything that follows."""

    def generate(context, builder, signature, args):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return _types.none(), generate


@_intrinsic
def _prefetch_line(typing_context, array, index):
    def generate(context, builder, signature, args):
        struct = context.make_array(array)(context, builder, args[0])
        pointer = builder.bitcast(builder.gep(struct.data, [args[1]]), _BYTES)
        kind = ir.FunctionType(ir.VoidType(), [_BYTES, *[ir.IntType(32)] * 3])
        call = builder.module.declare_intrinsic("llvm.prefetch", [_BYTES], kind)
        read, keep, data = (ir.Constant(ir.IntType(32), n) for n in (0, 3, 1))
        builder.call(call, [pointer, read, keep, data])
        return context.get_dummy_value()

    return _types.none(array, index), generate


@_helper
def prefetch(array, first, count):
    """Have a part of a row of a gapless array on its way to the cache while another is worked on.

    The CPU's own prefetching stops at the end of a page, which is where a row of 1024 float32 ends.
    """
    step = 64 // array.itemsize
    for k in range(0, count, step):
        _prefetch_line(array, first + k)


@_intrinsic(prefer_literal=True)
def interleave(typing_context, count):
    """Have LLVM work on `count` vectors of the loop around at once.

    A long chain of dependent operations leaves most of the CPU idle, unless other chains are
    within its sight: its window of some 64 waiting operations holds little more than one vector's.
    LLVM leaves that to the CPU for all but the shortest loops, unless it is told.
    """
    number = count.literal_value

    def generate(context, builder, signature, args):
        _mark_back_edge(builder, number)
        return context.get_dummy_value()

    return _types.none(count), generate


def _mark_back_edge(builder, count):
    """Give the next jump back from here, the loop's own, the metadata that LLVM reads."""
    module, plain = builder.module, builder.branch
    here = builder.function.blocks.index(builder.block)

    def branch(target):
        made = plain(target)
        if target in builder.function.blocks[: here + 1]:
            builder.branch = plain
            wish = module.add_metadata(
                ["llvm.loop.interleave.count", ir.Constant(ir.IntType(32), count)]
            )
            loop = ir.MDValue(module, [], str(len(module.metadata)))
            loop.operands = (loop, wish)  # it names itself, as LLVM has it
            made.set_metadata("llvm.loop", loop)
        return made

    builder.branch = branch


@_intrinsic
def choose(typing_context, condition, when_true, when_false):
    """Return one of two numbers, both computed, without a branch."""
    kind = typing_context.unify_types(when_true, when_false)
    if isinstance(kind, _types.IntegerLiteral):
        kind = _types.int64

    def generate(context, builder, signature, args):
        both = [
            context.cast(builder, arg, seen, kind)
            for arg, seen in zip(args[1:], signature.args[1:], strict=True)
        ]
        return builder.select(args[0], *both)

    return kind(condition, when_true, when_false), generate


def _bits(instruction):
    @_intrinsic
    def operate(typing_context, a, b):
        def generate(context, builder, signature, args):
            return getattr(builder, instruction)(*args)

        return _types.boolean(_types.boolean, _types.boolean), generate

    return operate


both, either, differ = _bits("and_"), _bits("or_"), _bits("xor")


def _step(instruction):
    # NOTE: only the fold itself may be reordered (vector registers need it); the elements keep
    # the order of operations they were written in.
    @_intrinsic
    def fold(typing_context, total, value):
        def generate(context, builder, signature, args):
            return getattr(builder, instruction)(*args, flags=("reassoc",))

        return total(total, total), generate

    return fold


plus, times = _step("fadd"), _step("fmul")


def _float_call(name, arity, flags=()):
    def generate(context, builder, signature, args):
        real = args[0].type
        kind = ir.FunctionType(real, [real] * arity)
        call = builder.module.declare_intrinsic(name, [real], kind)
        return builder.call(call, args, fastmath=flags)

    if arity == 1:

        @_intrinsic
        def unary(typing_context, x):
            return x(x), generate

        return unary

    @_intrinsic
    def binary(typing_context, a, b):
        return a(a, a), generate

    return binary


sqrt, floor, ceil, trunc, rint = (
    _float_call(f"llvm.{name}", 1) for name in ("sqrt", "floor", "ceil", "trunc", "rint")
)
copysign = _float_call("llvm.copysign", 2)
# A NaN wins; of 0.0 and -0.0 either, which spares half of the instructions.
larger = _float_call("llvm.maximum", 2, ("nsz",))
smaller = _float_call("llvm.minimum", 2, ("nsz",))


@_helper
def sign(x):
    """-1, 0 or 1 in x's own type; a NaN stays."""
    zero, one = like(x, 0.0), like(x, 1.0)
    return choose(x > zero, one, choose(x < zero, -one, choose(x == zero, zero, x)))


@_helper
def floor_divide_signed(a, b):
    """Integer quotient rounded down; by zero it is 0, and the lowest by -1 wraps, as in NumPy."""
    if b == 0:
        return a - a
    if b == -1:
        return -a
    return a // b


@_helper
def floor_divide_unsigned(a, b):
    """Integer quotient; by zero it is 0."""
    return a - a if b == 0 else a // b


@_helper
def remainder_signed(a, b):
    """Remainder with the divisor's sign; by zero it is 0."""
    if b == 0 or b == -1:
        return a - a
    return a % b


@_helper
def remainder_unsigned(a, b):
    """Remainder; by zero it is 0."""
    return a - a if b == 0 else a % b


@_helper
def remainder(a, b):
    """Floating remainder with the divisor's sign."""
    rest = np.fmod(a, b)
    if b == 0:
        return rest
    if rest != 0:
        return rest + b if (b < 0) != (rest < 0) else rest
    return copysign(rest, b)


@_helper
def floor_divide(a, b):
    """Floating quotient rounded down, by way of the remainder, as NumPy and Python do it."""
    if b == 0:
        return a / b
    one = like(a, 1.0)
    rest = np.fmod(a, b)
    quotient = (a - rest) / b
    if rest != 0 and (b < 0) != (rest < 0):
        quotient -= one
    if quotient == 0:
        return copysign(quotient, a / b)
    whole = floor(quotient)
    return whole + one if quotient - whole > like(a, 0.5) else whole
