"""Addresses out of tables of numbers, and vector copies between addresses.

A convolution's loops take everything in one table of integers, addresses among them, so that one
driver serves every data type and a call from Python passes two arguments.
"""

from __future__ import annotations

from llvmlite import ir

from tinytorch.native.gemm.microkernel import tile_shape
from tinytorch.native.gemm.packing import transposed
from tinytorch.native.pointers import intrinsic, types

_INT = ir.IntType(64)


@intrinsic
def placed(typing_context, kind, address):
    """Return the integer `address` as an address of the type of `kind`."""
    if not isinstance(kind, types.CPointer) or not isinstance(address, types.Integer):
        return None

    def generate(context, builder, signature, args):
        whole = context.cast(builder, args[1], address, types.int64)
        return builder.inttoptr(whole, context.get_value_type(kind))

    return kind(kind, address), generate


def _vector(builder, place, lanes):
    kind = ir.VectorType(place.type.pointee, lanes)
    return builder.bitcast(place, kind.as_pointer())


def _bytes(place):
    return 4 if isinstance(place.type.pointee, ir.FloatType) else 8


def _copying(parts):
    """Return an intrinsic that copies NR / `parts` neighbours by vectors, read before written."""

    @intrinsic
    def copy(typing_context, source, target):
        if source != target or not isinstance(source, types.CPointer):
            return None
        tile = tile_shape(source.dtype.name)
        count = tile.columns // parts
        lanes = min(count, tile.lanes)

        def generate(context, builder, signature, args):
            starts = range(0, count, lanes)
            places = [[builder.gep(place, [_INT(i)]) for i in starts] for place in args]
            reads, writes = ([_vector(builder, p, lanes) for p in side] for side in places)
            values = [builder.load(place, align=_bytes(args[0])) for place in reads]
            for value, place in zip(values, writes, strict=True):
                builder.store(value, place, align=_bytes(args[0]))
            return context.get_dummy_value()

        return types.void(source, target), generate

    return copy


# What a panel's runs are copied by: a step whole, or as much of one as the longest run needs.
copy_step, copy_half, copy_quarter = map(_copying, (1, 2, 4))


@intrinsic
def transpose_step(typing_context, source, offsets, target):
    """Write `lanes` steps of NR: step k holds element k of each of NR rows, `offsets` from source.

    Whole vectors are read from every row.
    """
    if source != target or not isinstance(source, types.CPointer):
        return None
    tile = tile_shape(source.dtype.name)

    def generate(context, builder, signature, args):
        start, table, into = args
        for first in range(0, tile.columns, tile.lanes):
            rows = []
            for i in range(tile.lanes):
                offset = builder.load(builder.gep(table, [_INT(first + i)]))
                place = _vector(builder, builder.gep(start, [offset]), tile.lanes)
                rows.append(builder.load(place, align=_bytes(start)))
            for k, row in enumerate(transposed(builder, rows)):
                place = builder.gep(into, [_INT(k * tile.columns + first)])
                builder.store(row, _vector(builder, place, tile.lanes), align=_bytes(start))
        return context.get_dummy_value()

    return types.void(source, offsets, target), generate
