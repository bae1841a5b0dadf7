"""Loops that meet one limit of the machine each, and nothing else: what ceilings are measured with.

Written as LLVM vectors, not left to the vectoriser: a ceiling must not depend on whether a compiler
recognised a loop (it turns a plain copy into a call of `memcpy`, and a chain whose operands it
knows into nothing at all). Every kernel takes its operands at run time, and returns or stores what
it computed. Rows are threads: row t of a two-dimensional operand belongs to thread t.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from llvmlite import ir
from numpy.typing import DTypeLike

from tinytorch.native import codecache, level
from tinytorch.native.aligned import aligned_empty
from tinytorch.native.codecache import jit

_numba = codecache.numba()
_types = _numba.types
_cgutils = _numba.core.cgutils
_intrinsic = _numba.extending.intrinsic
prange = _numba.prange

# The streaming loops move this many vectors a turn: a whole number of turns in what
# `operand_size` returns, at every vector width. What is left over of other sizes is not touched.
UNROLL = 8
_PAGE_BYTES = 4096
_PAST_PAGES = 3072


def accumulators() -> int:
    """Return how many independent chains the FMA kernels run, all of them in registers.

    A fused multiply-add takes about 4 cycles and a core starts 1 to 4 of them in each, so fewer
    than 8 chains leave units idle. Two registers are left over for the operands.
    """
    return 16 if level.register_count() == 32 else 12


def chain_shape(threads: int, dtype: DTypeLike) -> tuple[int, int]:
    """Return the shape of the start and result operands of `fma_chains`."""
    return threads, accumulators() * level.lanes(dtype)


# ------------------------------------------------------------------------------ building loops


def _vector_type(context, dtype):
    element = context.get_value_type(dtype)
    return ir.VectorType(element, level.vector_bytes() * 8 // dtype.bitwidth)


def _splat(builder, vector, scalar):
    undefined = ir.Constant(vector, ir.Undefined)
    index = ir.IntType(32)
    single = builder.insert_element(undefined, scalar, index(0))
    zeros = ir.Constant(ir.VectorType(index, vector.count), None)
    return builder.shuffle_vector(single, undefined, zeros)


def _pointers(context, builder, array_type, array, first, count):
    """Return the addresses of `count` vectors that follow element `first`."""
    vector = _vector_type(context, array_type.dtype)
    data = context.make_array(array_type)(context, builder, array).data
    places = [builder.add(first, first.type(i * vector.count)) for i in range(count)]
    return [builder.bitcast(builder.gep(data, [p]), vector.as_pointer()) for p in places]


def _multiply_add(builder, a, b, c):
    # NOTE: fmuladd, not fma: at the level 'v128' x86-64 can't fuse, and fma would be a slow call.
    vector = a.type
    kind = "f32" if vector.element == ir.FloatType() else "f64"
    function = _cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(vector, [vector] * 3),
        f"llvm.fmuladd.v{vector.count}{kind}",
    )
    return builder.call(function, [a, b, c])


def _vectors(array):
    """Say whether an operand is a row of floats that vectors can be taken from."""
    return isinstance(array, _types.Array) and array.ndim == 1


def _blocks(context, builder, array_type, array):
    """Yield the first element of each block of UNROLL vectors in a row, as a loop."""
    vector = _vector_type(context, array_type.dtype)
    size = context.make_array(array_type)(context, builder, array).nitems
    step = size.type(UNROLL * vector.count)
    whole = builder.mul(builder.sdiv(size, step), step)
    return _cgutils.for_range_slice(builder, size.type(0), whole, step, size.type)


# ------------------------------------------------------------------------------------- arithmetic


@_intrinsic
def _fma_row(typing_context, start, multiplier, addend, steps, result):
    """Run x = x * multiplier + addend over a row of `accumulators()` vectors, in registers."""
    if not (_vectors(start) and start.dtype == result.dtype == multiplier == addend):
        return None
    count = accumulators()

    def generate(context, builder, signature, args):
        row, factor, term, trips, out = args
        vector = _vector_type(context, start.dtype)
        factor, term = _splat(builder, vector, factor), _splat(builder, vector, term)
        origin = ir.IntType(64)(0)
        slots = [
            _cgutils.alloca_once_value(builder, builder.load(p, align=start.dtype.bitwidth // 8))
            for p in _pointers(context, builder, signature.args[0], row, origin, count)
        ]
        with _cgutils.for_range(builder, trips):
            for slot in slots:
                builder.store(_multiply_add(builder, builder.load(slot), factor, term), slot)
        targets = _pointers(context, builder, signature.args[4], out, origin, count)
        for slot, target in zip(slots, targets, strict=True):
            builder.store(builder.load(slot), target, align=start.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return _types.void(start, multiplier, addend, _types.int64, result), generate


@jit(parallel=True)
def fma_chains(start, multiplier, addend, result, steps):
    """Run `steps` multiply-adds on every element; operands have `chain_shape(threads, dtype)`.

    2 * start.size * steps FLOP. Chains must start from different values, or they are one chain.
    """
    for t in prange(start.shape[0]):
        _fma_row(start[t], multiplier, addend, steps, result[t])


# -------------------------------------------------------------------------------------- bandwidth


@_intrinsic
def _sum_row(typing_context, row, repeats, total):
    """Return total + `repeats` times the sum of a row, by UNROLL vector accumulators.

    They live on from pass to pass, so no pass can be left out, and they are added up only once.
    """
    if not (_vectors(row) and row.dtype == total):
        return None

    def generate(context, builder, signature, args):
        vector = _vector_type(context, row.dtype)
        zero = ir.Constant(vector, None)
        slots = [_cgutils.alloca_once_value(builder, zero) for _ in range(UNROLL)]
        with (
            _cgutils.for_range(builder, args[1]),
            _blocks(context, builder, row, args[0]) as (place, _),
        ):
            sources = _pointers(context, builder, row, args[0], place, UNROLL)
            for slot, source in zip(slots, sources, strict=True):
                loaded = builder.load(source, align=row.dtype.bitwidth // 8)
                builder.store(builder.fadd(builder.load(slot), loaded), slot)
        sums = [builder.load(slot) for slot in slots]
        lanes = [
            builder.extract_element(s, ir.IntType(32)(i)) for s in sums for i in range(vector.count)
        ]
        return functools.reduce(builder.fadd, lanes, args[2])

    return total(row, _types.int64, total), generate


def _stream(streaming_store):
    """Make an intrinsic that stores `source`, or source + scale * other, over a row."""

    @_intrinsic
    def run(typing_context, source, other, scale, target):
        if not (_vectors(source) and _vectors(target) and source.dtype == target.dtype):
            return None
        is_triad = _vectors(other)

        def generate(context, builder, signature, args):
            width = level.vector_bytes() if streaming_store else target.dtype.bitwidth // 8
            factor = _splat(builder, _vector_type(context, target.dtype), args[2])
            with _blocks(context, builder, target, args[3]) as (place, _):
                at = [
                    _pointers(context, builder, kind, array, place, UNROLL)
                    for kind, array in zip(signature.args, args, strict=True)
                    if _vectors(kind)
                ]
                for *inputs, output in zip(*at, strict=True):
                    values = [builder.load(p, align=target.dtype.bitwidth // 8) for p in inputs]
                    if is_triad:
                        values[0] = _multiply_add(builder, values[1], factor, values[0])
                    stored = builder.store(values[0], output, align=width)
                    if streaming_store:
                        one = builder.module.add_metadata([ir.IntType(32)(1)])
                        stored.set_metadata("nontemporal", one)
            if streaming_store:  # such stores are not ordered with what other threads then read
                builder.fence("seq_cst")
            return context.get_dummy_value()

        return _types.void(source, other, target.dtype, target), generate

    return run


_stream_row = _stream(streaming_store=False)
stream_row_past_cache = _stream(streaming_store=True)


@jit(parallel=True)
def fill(buffer, value):
    """Write `value` everywhere, each row by the thread that will use it: its pages come near it."""
    for t in prange(buffer.shape[0]):
        for i in range(buffer.shape[1]):
            buffer[t, i] = value


def stream_buffer(threads: int, bytes_per_thread: int) -> np.ndarray[Any, Any]:
    """Return an aligned float64 buffer of ones, a row a thread, each at least 9 KiB.

    The operands of a stream lie side by side in each row, `operand_size` elements each.
    """
    elements = max(bytes_per_thread, 3 * _PAST_PAGES) // 64 * 8
    buffer = aligned_empty((threads, elements), np.float64)
    fill(buffer, 1.0)
    return buffer


def operand_size(buffer: np.ndarray[Any, Any], count: int) -> int:
    """Return the elements of each of `count` (1 to 3) operands in a row: whole turns of a loop."""
    # NOTE: operands are three quarters of a page apart, past whole pages. A load whose place within
    # its page equals that of a store still under way waits for it; with a target 512 bytes ahead
    # of its source, a copy within the first level lost a third of its speed.
    pages = (buffer.shape[1] * 8 // count - _PAST_PAGES) // _PAGE_BYTES
    return int(pages * _PAGE_BYTES + _PAST_PAGES) // 8


@jit(parallel=True)
def read(buffer, size, sums, repeats):
    """Sum `size` elements of each row `repeats` times, onto sums[t]: 8 bytes an element."""
    for t in prange(buffer.shape[0]):
        sums[t] = _sum_row(buffer[t, :size], repeats, sums[t])


@jit(parallel=True)
def copy(buffer, size, repeats):
    """Write second = first in each row, `repeats` times: 16 bytes an element asked for."""
    for t in prange(buffer.shape[0]):
        row = buffer[t]
        for _ in range(repeats):
            _stream_row(row[:size], None, 0.0, row[size : 2 * size])


@jit(parallel=True)
def triad(buffer, size, scale, repeats):
    """Write third = first + scale * second in each row, `repeats` times: 24 bytes an element."""
    for t in prange(buffer.shape[0]):
        row = buffer[t]
        for _ in range(repeats):
            _stream_row(row[:size], row[size : 2 * size], scale, row[2 * size : 3 * size])


@jit(parallel=True)
def triad_past_cache(buffer, size, scale, repeats):
    """Do the same as `triad` with non-temporal stores: no line is read before it is written.

    Rows must be aligned as those of `stream_buffer` are.
    """
    for t in prange(buffer.shape[0]):
        row = buffer[t]
        for _ in range(repeats):
            stream_row_past_cache(row[:size], row[size : 2 * size], scale, row[2 * size : 3 * size])


# ---------------------------------------------------------------------------------------- latency


def chase_operand(nbytes: int, line_bytes: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Return a uint64 array whose lines each hold the address of another: one cycle through all.

    The cycle is the order of a random permutation, so every single cycle is equally likely (as by
    Sattolo's shuffle) and no prefetcher can guess the next line.
    """
    words = line_bytes // 8
    order = np.random.default_rng(seed).permutation(max(1, nbytes // line_bytes)) * words
    lines = aligned_empty(order.size * words, np.uint64, line_bytes)
    lines[order] = lines.ctypes.data + np.roll(order, -1) * 8
    return lines


@_intrinsic
def _load_from(typing_context, address):
    """Return the uint64 at an address."""

    def generate(context, builder, signature, args):
        word = ir.IntType(64)
        return builder.load(builder.inttoptr(args[0], word.as_pointer()), align=8)

    return _types.uint64(_types.uint64), generate


@jit
def chase(lines, steps):
    """Follow `steps` addresses, each load waiting for the one before, and return the last.

    NOTE: addresses, not indices: a scaled index makes a load one cycle slower on many cores.
    """
    address = lines[0]
    for _ in range(steps):
        address = _load_from(address)
    return address
