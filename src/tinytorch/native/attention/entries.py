"""The compiled functions that Python calls, for arrays of any strides.

Each is compiled for one data type, once: an array of any layout is taken as it is.
"""

from __future__ import annotations

import functools
from collections import namedtuple
from typing import Any

from tinytorch.native.attention.shares import begin, shift_for, sizes_of
from tinytorch.native.attention.single import attend_one
from tinytorch.native.attention.tiles import (
    Cache,
    Hidden,
    Queries,
    Room,
    Routines,
    attend,
    finish,
    scale_queries,
)
from tinytorch.native.codecache import jit, prange
from tinytorch.native.gemm.entries import view_of
from tinytorch.native.gemm.microkernel import LANES, NR
from tinytorch.native.pointers import at, call, data, types
from tinytorch.native.simd import like

# Queries of a sequence up to which each is taken alone, and keys and values where they lie.
SINGLE = 2

# What all jobs share: e, d; the rows of a group and the keys of a block; whether causal; whether
# there is a mask, and whether the logarithms of sums are wanted.
Plan = namedtuple("Plan", "d e group block causal has_mask has_logsumexp")


@jit
def _up(count, step):
    return (count + step - 1) // step * step


@jit
def laid_out(room, Tk, plan):
    """Lay out a thread's room: packed keys and values, then what a group needs."""
    one = like(room[0], 1.0)
    wide, lanes = NR(one), LANES(one)
    padded = _up(Tk, wide)
    keys = room
    values = at(keys, _up(padded * plan.d + lanes, 16))
    queries = at(values, _up(_up(plan.e, wide) * Tk + lanes, 16))
    scores = at(queries, _up(plan.group * plan.d, 16))
    sums = at(scores, plan.group * plan.block)
    width = _up(plan.e, lanes)
    tops = at(sums, plan.group * width)
    totals = at(tops, _up(plan.group, 16))
    return keys, values, Room(queries, scores, plan.block, sums, width, tops, totals)


@jit
def _job(job, rows, arrays, offsets, lengths, plan, scale, routines, room):
    """Compute the rows from rows[0] to rows[1] of one job."""
    q, k, v, out, mask, logsumexp = arrays
    Tq, Tk = sizes_of(lengths, job)
    shift = shift_for(Tq, Tk, plan.causal)
    seen = min(Tk, max(0, rows[1] + shift))
    keys, values, own = laid_out(room, Tk, plan)
    q_view, o_view = view_of(q, offsets[0, job]), view_of(out, offsets[3, job])
    k_view, v_view = view_of(k, offsets[1, job]), view_of(v, offsets[2, job])
    m_view = view_of(mask, offsets[4, job])
    alone = Tq <= SINGLE and k_view.column == 1 and v_view.column == 1
    if not alone:
        call(routines.pack, k_view.start, k_view.row, k_view.column, seen, plan.d, keys, 1)
        call(routines.pack, v_view.start, v_view.column, v_view.row, plan.e, seen, values, 1)
    cache = Cache(keys, values, seen, plan.d, plan.e)
    group = 1 if alone else plan.group
    for row in range(rows[0], rows[1], group):
        high = min(group, rows[1] - row)
        queries = Queries(at(q_view.start, row * q_view.row), q_view.row, q_view.column)
        start = at(m_view.start, row * m_view.row) if plan.has_mask != 0 else m_view.start
        hidden = Hidden(start, m_view.row, m_view.column, plan.has_mask, row + shift)
        scale_queries(queries, high, plan.d, scale, own)
        if alone:
            attend_one(
                (k_view.start, k_view.row),
                (v_view.start, v_view.row),
                min(seen, max(0, row + shift + 1)),
                (plan.d, plan.e),
                hidden,
                own,
            )
        else:
            attend(high, cache, hidden, own, routines)
        finish(
            high,
            plan.e,
            own,
            at(o_view.start, row * o_view.row),
            o_view.row,
            o_view.column,
            at(data(logsumexp), offsets[5, job] + row),
            plan.has_logsumexp,
        )


@jit
def _share(share, shares, arrays, offsets, lengths, numbers, scale, addresses, room):
    plan = Plan(numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6])
    routines = Routines(addresses[0], addresses[1], addresses[2])
    jobs = offsets.shape[1]
    job, row = begin(share, shares, jobs, lengths, plan.causal, plan.group)
    last, end = begin(share + 1, shares, jobs, lengths, plan.causal, plan.group)
    while job < last or (job == last and row < end):
        rows = (row, end if job == last else sizes_of(lengths, job)[0])
        if rows[0] < rows[1]:
            _job(job, rows, arrays, offsets, lengths, plan, scale, routines, data(room))
        job, row = job + 1, 0


def _attention(q, k, v, out, mask, logsumexp, offsets, lengths, numbers, scale, addresses, rooms):
    """Compute every job of a batch: a row of `rooms` for each share."""
    shares = rooms.shape[0]
    alpha = like(out[0, 0], scale)
    if shares == 1:
        arrays = (q, k, v, out, mask, logsumexp)
        _share(0, 1, arrays, offsets, lengths, numbers, alpha, addresses, rooms[0])
    else:
        for share in prange(shares):
            _share(
                share,
                shares,
                (q, k, v, out, mask, logsumexp),
                offsets,
                lengths,
                numbers,
                alpha,
                addresses,
                rooms[share],
            )


def operand(kind: Any, rank: int, layout: str = "A", *, readonly: bool = True) -> Any:
    """Return the type of an array that a compiled function takes."""
    return types.Array(kind, rank, layout, readonly=readonly)


def compiled_for(function: Any, kind: Any, arrays: tuple[Any, ...], numbers: int) -> Any:
    """Compile a function of arrays, offsets, lengths, numbers, scale, addresses and rooms."""
    compiled: Any = jit(parallel=True)(function)
    compiled.compile(
        (
            *arrays,
            operand(types.int64, 2, "C"),
            operand(types.int64, 2, "C"),
            types.UniTuple(types.int64, numbers),
            types.float64,
            operand(types.int64, 1, "C", readonly=False),
            operand(kind, 2, "C", readonly=False),
        )
    )
    compiled.disable_compile()
    return compiled


@functools.cache
def attention(dtype: str) -> Any:
    """Return the compiled attention for 'float32' or 'float64'; see `_attention`."""
    kind = getattr(types, dtype)
    arrays = (
        *[operand(kind, 2)] * 3,
        operand(kind, 2, readonly=False),
        operand(types.uint8, 2),
        operand(kind, 1, "C", readonly=False),
    )
    return compiled_for(_attention, kind, arrays, numbers=7)
