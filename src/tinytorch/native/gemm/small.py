"""The product of two small matrices, from Python at the price of a built-in function.

A product of 16 x 16 takes 70 ns, and each check or look-up in Python about as long: so all of them
are in compiled code, which reads the arrays where Python keeps them (see `native/builtin.py`).
"""

from __future__ import annotations

import functools
from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch.native import builtin
from tinytorch.native.builtin import (
    ALIGNED,
    DATA,
    DTYPE,
    FLAGS,
    HALF,
    RANK,
    SHAPE,
    STRIDES,
    TYPE,
    WRITEABLE,
)
from tinytorch.native.codecache import c_function, jit
from tinytorch.native.gemm import routines
from tinytorch.native.gemm.blocked import (
    DIRECT_DEPTH,
    IN_PLACE,
    Plan,
    Update,
    View,
    multiply,
    multiply_in_place,
)
from tinytorch.native.gemm.epilogue import Finish
from tinytorch.native.gemm.microkernel import LANES
from tinytorch.native.gemm.routines import Routines
from tinytorch.native.pointers import call, elements_of, longs_at, place_of, types
from tinytorch.native.simd import like

# Multiply-adds up to which a product is computed by the calling thread, with nothing packed.
SMALL = 1 << 20
# What the small product answers: that it can't be; that it is in order, but not small; that it is
# written.
CANNOT, FITS, DONE = 0, 1, 2

# The words of the state that the function comes with: types to compare with, the routines, what
# counts a reference, and the answers as objects.
_ARRAY, _KIND, _ROUTINES, _COUNTS, _ANSWERS = 0, 1, 2, 5, 6

# A matrix as Python keeps it: address, rows, columns, and the bytes from row to row and column to
# column.
_Matrix = namedtuple("_Matrix", "start rows columns down along")


@jit
def _is_matrix(place, state, flags):
    """Say whether an object is a 2-D array of the dtype, with all the `flags`."""
    fields = longs_at(place)
    if fields[TYPE] != state[_ARRAY]:
        return False
    fits = fields[RANK] & HALF == 2 and fields[DTYPE] == state[_KIND]
    return fits and fields[FLAGS] & flags == flags


@jit
def _matrix(place):
    fields = longs_at(place)
    shape, strides = longs_at(fields[SHAPE]), longs_at(fields[STRIDES])
    return _Matrix(fields[DATA], shape[0], shape[1], strides[0], strides[1])


@jit
def _extent(matrix, item):
    """Return the first byte of a matrix, and the one behind its last."""
    down, along = (matrix.rows - 1) * matrix.down, (matrix.columns - 1) * matrix.along
    first = matrix.start + min(down, 0) + min(along, 0)
    return first, matrix.start + max(down, 0) + max(along, 0) + item


@jit
def _overlap(one, other, item):
    a, b = _extent(one, item), _extent(other, item)
    return a[0] < b[1] and b[0] < a[1]


@jit
def _view(matrix, one):
    return View(
        place_of(matrix.start, one), elements_of(one, matrix.down), elements_of(one, matrix.along)
    )


@jit
def _product(state, a, b, c, one, item):
    """Write c = a @ b, or say why not."""
    M, N, K = a.rows, b.columns, a.columns
    if not (b.rows == K and c.rows == M and c.columns == N and M * N * K > 0):
        return CANNOT
    if _overlap(a, c, item) or _overlap(b, c, item):
        return CANNOT
    rows_lie_ready = b.along == item and c.along == item
    if not (rows_lie_ready and M * N * K <= SMALL and K <= DIRECT_DEPTH):
        return FITS
    tile, pack, strip = state[_ROUTINES], state[_ROUTINES + 1], state[_ROUTINES + 2]
    first, second, target = _view(a, one), _view(b, one), _view(c, one)
    if N % LANES(one) == 0:
        multiply_in_place(first, second, target, (M, N, K), one, strip)
        return DONE
    nowhere = target.start
    plan = Plan(M, K, N, False, IN_PLACE, nowhere, nowhere)
    update = Update(one, like(one, 0.0), Finish(nowhere, 0, nowhere, 0, 0, 0))
    multiply(first, second, target, (M, N, K), plan, update, Routines(tile, pack, strip))
    return DONE


@jit
def _answer(own, arguments, count, one, item):
    """Look at the objects, multiply, and return the answer as an object."""
    state, given = longs_at(longs_at(own)[DATA]), longs_at(arguments)
    answer = CANNOT
    if (
        count == 3
        and _is_matrix(given[0], state, ALIGNED)
        and _is_matrix(given[1], state, ALIGNED)
        and _is_matrix(given[2], state, ALIGNED | WRITEABLE)
    ):
        a, b, c = _matrix(given[0]), _matrix(given[1]), _matrix(given[2])
        answer = _product(state, a, b, c, one, item)
    result = state[_ANSWERS + answer]
    call(state[_COUNTS], result)
    return result


_SINGLE, _DOUBLE = np.float32(1), np.float64(1)


def _single(own, arguments, count):
    return _answer(own, arguments, count, _SINGLE, 4)


def _double(own, arguments, count):
    return _answer(own, arguments, count, _DOUBLE, 8)


@functools.cache
def compiled(dtype: str) -> Any:
    """Return the compiled function for 'float32' or 'float64', as Python's C interface takes it."""
    word = types.int64
    return c_function(_single if dtype == "float32" else _double, word(word, word, word))


def _refused(*_: Any) -> int:
    return CANNOT


# The answers, kept: compiled code returns them by their addresses.
_NUMBERS = (CANNOT, FITS, DONE)


@functools.cache
def small(dtype: str) -> Callable[..., int]:
    """Return `(a, b, c) -> answer`: c = a @ b for small matrices of 'float32' or 'float64'.

    Takes any objects; what are not three arrays of that dtype are answered by CANNOT, as everything
    is where arrays don't lie as this code was made for.
    """
    if not builtin.arrays_lie_as_expected():
        return _refused
    state = np.array(
        [
            id(np.ndarray),
            id(np.dtype(dtype)),
            *routines.addresses(dtype),
            builtin.counts_reference(),
            *map(id, _NUMBERS),
        ]
    )
    return builtin.builtin(f"small_{dtype}", compiled(dtype).address, state)
