"""Packing: operands copied into the order in which the micro-kernel walks them.

A panel holds `width` rows of A (MR) or columns of B (NR), one step of k after the other, so that a
step reads neighbours and a panel spans few pages. Operands come by their strides, so a transposed
one is packed straight from where it lies: contiguous across the panel it is copied by vectors,
contiguous along k it is transposed in registers, a block of lanes x lanes at a time.
"""

from __future__ import annotations

import functools

from llvmlite import ir

from tinytorch.native.codecache import jit
from tinytorch.native.gemm.microkernel import LANES, MR, NR, tile_shape
from tinytorch.native.pointers import at, cgutils, intrinsic, prefetch, types

_INT = ir.IntType(64)
_INDEX = ir.IntType(32)
# Steps from what is copied to what is asked for.
_AHEAD = 16
# Panels copied side by side: then a row far from the next is read several lines at a time.
_BESIDE = 8


def _vector_at(builder, address, count):
    kind = ir.VectorType(address.type.pointee, count)
    return builder.bitcast(address, kind.as_pointer())


def _bytes(address):
    return 4 if isinstance(address.type.pointee, ir.FloatType) else 8


def _copy(builder, source, along, target, steps, shape):
    """Copy `width` neighbours a step into a panel.

    Some steps ahead, the next lines are asked for: rows far apart are a page each, where the CPU's
    own prefetching stops.
    """
    width = shape[0]
    with cgutils.for_range(builder, steps) as loop:
        here = builder.gep(source, [builder.mul(loop.index, along)])
        there = builder.gep(target, [builder.mul(loop.index, _INT(width))])
        ahead = builder.gep(here, [builder.mul(along, _INT(_AHEAD))])
        _copy_step(builder, here, there, ahead, width)


def _copy_beside(builder, source, along, target, steps, shape):
    """Copy neighbours a step into `_BESIDE` panels, `width` into each."""
    width = shape[0]
    apart = builder.mul(steps, _INT(width))
    with cgutils.for_range(builder, steps) as loop:
        here = builder.gep(source, [builder.mul(loop.index, along)])
        there = builder.gep(target, [builder.mul(loop.index, _INT(width))])
        ahead = builder.gep(here, [builder.mul(along, _INT(_AHEAD // _BESIDE))])
        for panel in range(_BESIDE):
            place = builder.gep(there, [builder.mul(apart, _INT(panel))])
            first, later = (builder.gep(one, [_INT(panel * width)]) for one in (here, ahead))
            _copy_step(builder, first, place, later, width)


def _copy_step(builder, here, there, ahead, width):
    """Copy `width` neighbours by vectors, the largest first, none beyond the last element."""
    for line in range(0, width, 64 // _bytes(here)):
        prefetch(builder, builder.gep(ahead, [_INT(line)]))
    done = 0
    while done < width:
        count = min(1 << ((width - done).bit_length() - 1), 16)
        places = (builder.gep(place, [_INT(done)]) for place in (here, there))
        read, write = (_vector_at(builder, place, count) for place in places)
        builder.store(builder.load(read, align=_bytes(here)), write, align=_bytes(here))
        done += count


def transposed(builder, rows):
    """Transpose as many vectors as each has lanes: swap blocks of 1, 2, 4 … across the diagonal."""
    lanes = len(rows)
    kind = ir.VectorType(_INDEX, lanes)
    step = 1
    while step < lanes:
        upper = [e if not e & step else lanes + e - step for e in range(lanes)]
        lower = [e + step if not e & step else lanes + e for e in range(lanes)]
        for i in (i for i in range(lanes) if not i & step):
            pair = rows[i], rows[i + step]
            for place, mask in ((i, upper), (i + step, lower)):
                rows[place] = builder.shuffle_vector(*pair, ir.Constant(kind, mask))
        step *= 2
    return rows


def _transpose(builder, source, across, target, blocks, shape):
    """Transpose `width` rows, `across` apart, `lanes` neighbours at a time, into steps."""
    width, lanes = shape
    with cgutils.for_range(builder, blocks) as loop:
        here = builder.gep(source, [builder.mul(loop.index, _INT(lanes))])
        there = builder.gep(target, [builder.mul(loop.index, _INT(lanes * width))])
        _transpose_block(builder, here, across, there, shape)


def _transpose_block(builder, source, across, target, shape):
    width, lanes = shape
    nothing = ir.Constant(ir.VectorType(source.type.pointee, lanes), ir.Undefined)
    groups = []
    for first in range(0, width, lanes):
        rows = [nothing] * lanes
        for i in range(min(lanes, width - first)):
            start = builder.gep(source, [builder.mul(across, _INT(first + i))])
            rows[i] = builder.load(_vector_at(builder, start, lanes), align=_bytes(source))
        groups.append((first, transposed(builder, rows)))
    # NOTE: where lanes don't divide the width, a store runs over into the next step, which the next
    # store puts right: steps are written in order, and behind the last panel there is room.
    for k in range(lanes):
        for first, rows in groups:
            place = builder.gep(target, [_INT(k * width + first)])
            builder.store(rows[k], _vector_at(builder, place, lanes), align=_bytes(target))


def _function(builder, name, emit, operands):
    """Return the module's function `name`, written by `emit` when it is not there yet.

    NOTE: a call, not code in place: inlined at every use, it would be compiled at every use.
    """
    if name in builder.module.globals:
        return builder.module.globals[name]
    kind = ir.FunctionType(ir.VoidType(), [operand.type for operand in operands])
    function = ir.Function(builder.module, kind, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    inside = ir.IRBuilder(function.append_basic_block())
    emit(inside, *function.args)
    inside.ret_void()
    return function


def _for_either_width(name, emit):
    """Make an intrinsic (wide, source, stride, target, count): `emit` for NR if wide, else MR."""

    @intrinsic
    def move(typing_context, wide, source, stride, target, count):
        if source != target or not isinstance(source, types.CPointer):
            return None
        tile = tile_shape(source.dtype.name)

        def generate(context, builder, signature, args):
            is_wide, *operands = args
            with builder.if_else(is_wide) as branches:
                for branch, width in zip(branches, (tile.columns, tile.rows), strict=True):
                    with branch:
                        called = _function(
                            builder,
                            f"tinytorch.{name}.{source.dtype.name}.{width}",
                            functools.partial(emit, shape=(width, tile.lanes)),
                            operands,
                        )
                        builder.call(called, operands)
            return context.get_dummy_value()

        return types.void(types.boolean, source, types.int64, target, types.int64), generate

    return move


_copy_panels = _for_either_width("panels", _copy_beside)
_copy_steps = _for_either_width("copy", _copy)
_transpose_blocks = _for_either_width("transpose", _transpose)


@jit
def _pack_slowly(source, across, along, count, depth, target, width):
    """Pack element by element; what is beyond the matrix becomes 0."""
    for k in range(depth):
        for i in range(count):
            target[k * width + i] = source[i * across + k * along]
        for i in range(count, width):
            target[k * width + i] = 0


@jit
def _pack_panel(source, across, along, count, depth, target, wide):
    lanes = LANES(source[0])
    width = NR(source[0]) if wide else MR(source[0])
    k = 0
    if count == width and across == 1:
        _copy_steps(wide, source, along, target, depth)
        k = depth
    elif count == width and along == 1:
        _transpose_blocks(wide, source, across, target, depth // lanes)
        k = depth // lanes * lanes
    if k < depth:
        rest, place = at(source, k * along), at(target, k * width)
        _pack_slowly(rest, across, along, count, depth - k, place, width)


def pack(source, across, along, count, depth, target, is_b):
    """Pack `count` rows of A (columns of B if `is_b` is not 0) by `depth` steps, panel by panel.

    `across` are elements from row to row (column to column), `along` from one k to the next. Writes
    whole panels, and up to a vector more behind the last.
    """
    wide = is_b != 0
    width = NR(source[0]) if wide else MR(source[0])
    start = 0
    if across == 1:
        together = _BESIDE * width
        while start + together <= count:
            place, room = at(source, start), at(target, start * depth)
            _copy_panels(wide, place, along, room, depth)
            start += together
    for first in range(start, count, width):
        place, room = at(source, first * across), at(target, first * depth)
        _pack_panel(place, across, along, min(width, count - first), depth, room, wide)
