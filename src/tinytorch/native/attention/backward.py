"""The compiled gradient of attention that Python calls: jobs, their rooms, and who does which."""

from __future__ import annotations

import functools
import math
from collections import namedtuple
from typing import Any

from tinytorch.native.attention.entries import compiled_for, operand
from tinytorch.native.attention.gradient import Rows, Sums, add_group, take_queries, write
from tinytorch.native.attention.shares import begin, shift_for, sizes_of
from tinytorch.native.attention.tiles import Hidden, Routines
from tinytorch.native.codecache import jit, prange
from tinytorch.native.gemm.entries import view_of
from tinytorch.native.gemm.microkernel import LANES, NR
from tinytorch.native.pointers import at, call, data, types
from tinytorch.native.simd import like

# What all jobs share: e, d; the rows of a group and the keys of a block; whether causal, and
# whether there is a mask.
Plan = namedtuple("Plan", "d e group block causal has_mask")


@jit
def _up(count, step):
    return (count + step - 1) // step * step


@jit
def _room(room, Tk, plan):
    one = like(room[0], 1.0)
    wide, lanes = NR(one), LANES(one)
    d_wide, e_wide, padded = _up(plan.d, lanes), _up(plan.e, lanes), _up(Tk, wide)
    values = at(room, _up(padded * plan.d + lanes, 16))
    key_rows = at(values, _up(padded * plan.e + lanes, 16))
    dk = at(key_rows, _up(_up(plan.d, wide) * Tk + lanes, 16))
    dv = at(dk, padded * d_wide)
    queries = at(dv, padded * e_wide)
    douts = at(queries, plan.group * d_wide)
    scores = at(douts, plan.group * e_wide)
    dscores = at(scores, plan.group * plan.block)
    dq = at(dscores, plan.group * plan.block)
    tops = at(dq, plan.group * d_wide)
    deltas = at(tops, _up(plan.group, 16))
    return Sums(
        room,
        values,
        key_rows,
        dk,
        dv,
        queries,
        douts,
        scores,
        dscores,
        dq,
        tops,
        deltas,
        plan.block,
        plan.d,
        d_wide,
        plan.e,
        e_wide,
    )


@jit
def _rows(array, offset):
    view = view_of(array, offset)
    return Rows(view.start, view.row, view.column)


@jit
def _from(rows, i):
    return Rows(at(rows.start, i * rows.row), rows.row, rows.column)


@jit
def _job(job, arrays, offsets, lengths, plan, scale, routines, room):
    q, k, v, out, dout, mask, logs, dq, dk, dv = arrays
    Tq, Tk = sizes_of(lengths, job)
    shift = shift_for(Tq, Tk, plan.causal)
    own = _room(room, Tk, plan)
    k_view, v_view = view_of(k, offsets[1, job]), view_of(v, offsets[2, job])
    m_view = view_of(mask, offsets[5, job])
    call(routines.pack, k_view.start, k_view.row, k_view.column, Tk, plan.d, own.keys, 1)
    call(routines.pack, v_view.start, v_view.row, v_view.column, Tk, plan.e, own.values, 1)
    call(routines.pack, k_view.start, k_view.column, k_view.row, plan.d, Tk, own.key_rows, 1)
    for i in range(Tk * own.d_wide):
        own.dk[i] = like(scale, 0.0)
    for i in range(Tk * own.e_wide):
        own.dv[i] = like(scale, 0.0)
    queries, outs = _rows(q, offsets[0, job]), _rows(out, offsets[3, job])
    douts, dqs = _rows(dout, offsets[4, job]), _rows(dq, offsets[7, job])
    alpha = scale * like(scale, math.log2(math.e))
    for row in range(0, Tq, plan.group):
        high = min(plan.group, Tq - row)
        log = at(data(logs), offsets[6, job] + row)
        take_queries(
            high, _from(queries, row), _from(outs, row), _from(douts, row), log, own, alpha
        )
        start = at(m_view.start, row * m_view.row) if plan.has_mask != 0 else m_view.start
        hidden = Hidden(start, m_view.row, m_view.column, plan.has_mask, row + shift)
        add_group(high, Tk, hidden, own, routines)
        write(own.dq, own.d_wide, high, plan.d, _from(dqs, row), scale)
    # The queries summed here had log2(e) in them.
    write(own.dk, own.d_wide, Tk, plan.d, _rows(dk, offsets[8, job]), like(scale, math.log(2.0)))
    write(own.dv, own.e_wide, Tk, plan.e, _rows(dv, offsets[9, job]), like(scale, 1.0))


@jit
def _share(share, shares, arrays, offsets, lengths, numbers, scale, addresses, room):
    plan = Plan(numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5])
    routines = Routines(addresses[0], addresses[1], addresses[2])
    jobs = offsets.shape[1]
    # Groups longer than any sequence: a job is never shared.
    first, last = (
        begin(share, shares, jobs, lengths, plan.causal, 1 << 40)[0],
        begin(share + 1, shares, jobs, lengths, plan.causal, 1 << 40)[0],
    )
    for job in range(first, last):
        _job(job, arrays, offsets, lengths, plan, scale, routines, data(room))


def _gradient(
    q, k, v, out, dout, mask, logs, dq, dk, dv, offsets, lengths, numbers, scale, addresses, rooms
):
    """Compute the gradients of every job of a batch: a row of `rooms` for each share."""
    shares = rooms.shape[0]
    factor = like(out[0, 0], scale)
    if shares == 1:
        arrays = (q, k, v, out, dout, mask, logs, dq, dk, dv)
        _share(0, 1, arrays, offsets, lengths, numbers, factor, addresses, rooms[0])
    else:
        for share in prange(shares):
            _share(
                share,
                shares,
                (q, k, v, out, dout, mask, logs, dq, dk, dv),
                offsets,
                lengths,
                numbers,
                factor,
                addresses,
                rooms[share],
            )


@functools.cache
def gradient(dtype: str) -> Any:
    """Return the compiled gradient for 'float32' or 'float64'; see `_gradient`."""
    kind = getattr(types, dtype)
    read, written = operand(kind, 2), operand(kind, 2, readonly=False)
    return compiled_for(
        _gradient,
        kind,
        (
            *[read] * 5,
            operand(types.uint8, 2),
            operand(kind, 1, "C"),
            *[written] * 3,
        ),
        numbers=6,
    )
