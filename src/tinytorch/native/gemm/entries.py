"""The compiled product that Python calls for whatever is not small (`small.py`).

It is compiled for one data type and for arrays of any strides, once, and then told to compile no
more: an array of any layout, writable or not, is taken as it is, and no mixture of layouts costs
another compilation.
"""

from __future__ import annotations

import functools
from typing import Any

from tinytorch.native.codecache import jit, prange
from tinytorch.native.gemm.blocked import Plan, Update, View, multiply, multiply_in_place
from tinytorch.native.gemm.epilogue import Finish
from tinytorch.native.gemm.microkernel import LANES, MR, NR
from tinytorch.native.gemm.routines import Routines
from tinytorch.native.pointers import ask_for, ask_to_write, at, data, elements, types
from tinytorch.native.simd import like

# Where the numbers of a call hold the blocks (see `Blocks.numbers`), into how many rows and columns
# of shares a product is cut, the activation, the addresses of the routines, the size of the batch,
# and last, for a, b, c and the residual, the elements from the first matrix to each of the batch.
BLOCKS, GRID, ACTIVATION, ROUTINES, BATCH, OFFSETS = 0, 6, 8, 9, 12, 13
# The bytes of a small product's matrices up to which the next one's are asked for beforehand.
_ASKED_FOR = 16 << 10


@jit
def view_of(array, offset):
    """Return a 2-D array's matrix `offset` elements on, as the blocked loops take it."""
    start = at(data(array), offset)
    return View(start, elements(array, array.strides[0]), elements(array, array.strides[1]))


@jit
def _offset(numbers, operand, unit):
    return numbers[OFFSETS + operand * numbers[BATCH] + unit]


@jit
def _unit(unit, arrays, numbers, scales, room):
    """Compute one share of one product of the batch; shares begin at whole tiles."""
    a, b, c, bias, residual = arrays
    down, along = numbers[GRID], numbers[GRID + 1]
    batch, share = unit // (down * along), unit % (down * along)
    gi, gj = share // along, share % along
    M, K = a.shape
    N = b.shape[1]
    alpha, beta = like(c[0, 0], scales[0]), like(c[0, 0], scales[1])
    high, wide = MR(alpha), NR(alpha)
    tiles_m, tiles_n = (M + high - 1) // high, (N + wide - 1) // wide
    i0, i1 = gi * tiles_m // down * high, min(M, (gi + 1) * tiles_m // down * high)
    j0, j1 = gj * tiles_n // along * wide, min(N, (gj + 1) * tiles_n // along * wide)
    a_view = view_of(a, _offset(numbers, 0, batch))
    b_view = view_of(b, _offset(numbers, 1, batch))
    c_view = view_of(c, _offset(numbers, 2, batch))
    other = view_of(residual, _offset(numbers, 3, batch))
    has_bias, has_residual = int(bias.size > 0), int(residual.size > 0)
    bias_start, other_start = data(bias), other.start
    if has_bias != 0:
        bias_start = at(bias_start, j0)
    if has_residual != 0:
        other_start = at(other_start, i0 * other.row + j0)
    activation = numbers[ACTIVATION]
    finish = Finish(bias_start, has_bias, other_start, other.row, has_residual, activation)
    plan = Plan(
        numbers[BLOCKS],
        numbers[BLOCKS + 1],
        numbers[BLOCKS + 2],
        numbers[BLOCKS + 3] != 0,
        numbers[BLOCKS + 4],
        room,
        at(room, numbers[BLOCKS + 5]),
    )
    if i1 > i0 and j1 > j0:
        multiply(
            View(at(a_view.start, i0 * a_view.row), a_view.row, a_view.column),
            View(at(b_view.start, j0 * b_view.column), b_view.row, b_view.column),
            View(at(c_view.start, i0 * c_view.row + j0 * c_view.column), c_view.row, c_view.column),
            (i1 - i0, j1 - j0, K),
            plan,
            Update(alpha, beta, finish),
            Routines(numbers[ROUTINES], numbers[ROUTINES + 1], numbers[ROUTINES + 2]),
        )


@jit
def _is_plain(arrays, numbers, scales):
    """Say whether every product of the batch can be written as `multiply_in_place` does."""
    _, b, c, bias, residual = arrays
    packed = numbers[BLOCKS + 3] + numbers[BLOCKS + 4]
    extras = numbers[ACTIVATION] + bias.size + residual.size + packed
    ready = b.strides[1] == b.itemsize and c.strides[1] == c.itemsize
    whole = c.shape[1] % LANES(c[0, 0]) == 0 and numbers[GRID] * numbers[GRID + 1] == 1
    return extras == 0 and ready and whole and scales[0] == 1 and scales[1] == 0


@jit
def _units_in_place(first, last, arrays, numbers):
    a, b, c, _, _ = arrays
    one = like(c[0, 0], 1.0)
    a_view, b_view, c_view = view_of(a, 0), view_of(b, 0), view_of(c, 0)
    M, K = a.shape
    N = b.shape[1]
    sizes = (M, N, K)
    # Small matrices end before the CPU's own prefetching has begun.
    asks = (M * K + K * N + M * N) * c.itemsize <= _ASKED_FOR
    for unit in range(first, last):
        if asks and unit + 1 < last:
            ask_for(at(a_view.start, _offset(numbers, 0, unit + 1)), M, a_view.row, K)
            ask_for(at(b_view.start, _offset(numbers, 1, unit + 1)), K, b_view.row, N)
            ask_to_write(at(c_view.start, _offset(numbers, 2, unit + 1)), M, c_view.row, N)
        multiply_in_place(
            View(at(a_view.start, _offset(numbers, 0, unit)), a_view.row, a_view.column),
            View(at(b_view.start, _offset(numbers, 1, unit)), b_view.row, b_view.column),
            View(at(c_view.start, _offset(numbers, 2, unit)), c_view.row, c_view.column),
            sizes,
            one,
            numbers[ROUTINES + 2],
        )


@jit
def _units(first, last, arrays, numbers, scales, room):
    if _is_plain(arrays, numbers, scales):
        _units_in_place(first, last, arrays, numbers)
        return
    for unit in range(first, last):
        _unit(unit, arrays, numbers, scales, data(room))


def _shared(a, b, c, bias, residual, numbers, alpha, beta, rooms):
    """Compute every product of a batch: shares of each, dealt out to the rows of `rooms`.

    `numbers` hold what is known before the call, each at its place above: unpacking a dozen
    arguments takes microseconds.
    """
    units = numbers[BATCH] * numbers[GRID] * numbers[GRID + 1]
    shares = rooms.shape[0]
    arrays, scales = (a, b, c, bias, residual), (alpha, beta)
    if shares == 1:
        _units(0, units, arrays, numbers, scales, rooms[0])
    else:
        for share in prange(shares):
            first, last = share * units // shares, (share + 1) * units // shares
            _units(
                first,
                last,
                (a, b, c, bias, residual),
                numbers,
                (alpha, beta),
                rooms[share],
            )


def _compiled(function: Any, signature: tuple[Any, ...], *, parallel: bool) -> Any:
    compiled: Any = jit(parallel=parallel)(function)
    compiled.compile(signature)
    compiled.disable_compile()
    return compiled


def _array(kind: Any, rank: int, layout: str = "A", *, readonly: bool = True) -> Any:
    return types.Array(kind, rank, layout, readonly=readonly)


@functools.cache
def shared(dtype: str) -> Any:
    """Return the compiled general product; see `_shared` for what it takes."""
    kind = getattr(types, dtype)
    operand, output = _array(kind, 2), _array(kind, 2, readonly=False)
    signature = (
        operand,
        operand,
        output,
        _array(kind, 1, "C"),
        operand,
        _array(types.int64, 1, "C", readonly=False),
        types.float64,
        types.float64,
        _array(kind, 2, "C", readonly=False),
    )
    return _compiled(_shared, signature, parallel=True)
