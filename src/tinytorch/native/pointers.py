"""Typed addresses for compiled code: an array's data, a place further on, room on the stack.

Arrays of every layout would be one compiled version each; an address with strides is one for all,
and an address of bytes, which is what passes between Python and the routines, is one for all types.
Nothing here checks bounds: what calls it has checked shapes.
"""

from __future__ import annotations

from llvmlite import ir

from tinytorch.native import codecache

_numba = codecache.numba()
types = _numba.types
cgutils = _numba.core.cgutils
intrinsic = _numba.extending.intrinsic


@intrinsic
def data(typing_context, array):
    """Return the address of an array's first element."""
    if not isinstance(array, types.Array):
        return None

    def generate(context, builder, signature, args):
        return context.make_array(array)(context, builder, args[0]).data

    return types.CPointer(array.dtype)(array), generate


@intrinsic
def address(typing_context, array):
    """Return the address of an array's first element as an integer."""
    if not isinstance(array, types.Array):
        return None

    def generate(context, builder, signature, args):
        start = context.make_array(array)(context, builder, args[0]).data
        return builder.ptrtoint(start, ir.IntType(64))

    return types.int64(array), generate


@intrinsic
def elements(typing_context, array, size_bytes):
    """Return how many of an array's elements a multiple of their size in bytes is."""
    if not isinstance(array, types.Array):
        return None
    shift = array.dtype.bitwidth.bit_length() - 4  # of 8 bits: a division would take 20 cycles

    def generate(context, builder, signature, args):
        return builder.ashr(args[1], ir.IntType(64)(shift))

    return types.int64(array, types.int64), generate


@intrinsic
def elements_of(typing_context, x, size_bytes):
    """Return how many floats like x a multiple of their size in bytes is."""
    if not isinstance(x, types.Float):
        return None
    shift = x.bitwidth.bit_length() - 4

    def generate(context, builder, signature, args):
        return builder.ashr(args[1], ir.IntType(64)(shift))

    return types.int64(x, types.int64), generate


def _pointer_to(kind):
    """Make an intrinsic that turns an address into a pointer to `kind`."""

    @intrinsic
    def pointer(typing_context, address):
        def generate(context, builder, signature, args):
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

        return types.CPointer(kind)(types.int64), generate

    return pointer


bytes_at = _pointer_to(types.uint8)
codes_at = _pointer_to(types.int8)
words_at = _pointer_to(types.int16)
ints_at = _pointer_to(types.int32)
longs_at = _pointer_to(types.int64)
floats_at = _pointer_to(types.float32)


@intrinsic
def place_of(typing_context, address, x):
    """Return an integer address as that of floats like x."""
    if not isinstance(address, types.Integer) or not isinstance(x, types.Float):
        return None

    def generate(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(x).as_pointer())

    return types.CPointer(x)(types.int64, x), generate


@intrinsic
def at(typing_context, pointer, count):
    """Return the address `count` elements after `pointer`."""
    if not isinstance(pointer, types.CPointer) or not isinstance(count, types.Integer):
        return None

    def generate(context, builder, signature, args):
        return builder.gep(args[0], [context.cast(builder, args[1], count, types.int64)])

    return pointer(pointer, count), generate


@intrinsic
def call(typing_context, address, *args):
    """Call the C function without a result at an integer address (see `codecache.c_function`)."""
    if not isinstance(address, types.Integer):
        return None
    kinds = tuple(types.unliteral(arg) for arg in args)

    def generate(context, builder, signature, args):
        values = cgutils.unpack_tuple(builder, args[1])
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), values)
        return context.get_dummy_value()

    return types.void(types.int64, types.StarArgTuple(kinds)), generate


@intrinsic
def integer_from(typing_context, address):
    """Call the C function at an integer address that takes nothing and returns an int."""
    if not isinstance(address, types.Integer):
        return None

    def generate(context, builder, signature, args):
        word = ir.IntType(32)
        kind = ir.FunctionType(word, [])
        result = builder.call(builder.inttoptr(args[0], kind.as_pointer()), [])
        return builder.sext(result, ir.IntType(64))

    return types.int64(types.int64), generate


def prefetch(builder, place, *, writes=False, locality=3):
    """Emit a wish for the cache line at an address, to be read or written soon.

    `locality`: 3 for the first cache, 2 for the second.
    """
    byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(
        function, [builder.bitcast(place, byte), word(int(writes)), word(locality), word(1)]
    )


def _asking(*, writes, locality=3):
    @intrinsic
    def ask(typing_context, pointer, rows, row, width):
        if not isinstance(pointer, types.CPointer):
            return None
        a_line = 64 * 8 // pointer.dtype.bitwidth

        def generate(context, builder, signature, args):
            place, rows, row, width = args
            zero, step = ir.IntType(64)(0), ir.IntType(64)(a_line)
            with cgutils.for_range(builder, rows) as outer:
                start = builder.gep(place, [builder.mul(outer.index, row)])
                with cgutils.for_range_slice(builder, zero, width, step) as (index, _):
                    place = builder.gep(start, [index])
                    prefetch(builder, place, writes=writes, locality=locality)
            return context.get_dummy_value()

        return types.void(pointer, types.int64, types.int64, types.int64), generate

    return ask


# (start, rows, row, width): ask for the lines of a matrix's rows, `row` elements apart, `width`
# long, to be read soon; the same into the second cache; and to be written soon.
ask_for = _asking(writes=False)
ask_for_near = _asking(writes=False, locality=2)
ask_to_write = _asking(writes=True)


def stack(count):
    """Make a function of a float x: the address of room for `count(x's type)` numbers like it.

    It is on the stack, begins on a 64-byte boundary, and is there until the caller returns.
    """

    @intrinsic
    def room(typing_context, x):
        if not isinstance(x, types.Float):
            return None

        def generate(context, builder, signature, args):
            real = context.get_value_type(x)
            with builder.goto_entry_block():
                place = builder.alloca(ir.ArrayType(real, count(x.name)))
                place.align = 64
            return builder.bitcast(place, real.as_pointer())

        return types.CPointer(x)(x), generate

    return room
