"""Running tables of numbers: one loop that deals shares out to threads, for every routine.

A routine is compiled once a data type and called by its address with (table, share, any address).
"""

from __future__ import annotations

import functools
from typing import Any

from tinytorch.native.codecache import c_function, jit, prange
from tinytorch.native.conv import pixels, pools, weights
from tinytorch.native.conv.fields import (
    BIAS,
    CHANNEL,
    COLUMN,
    IMAGE,
    OTHER,
    OUT,
    ROOM,
    ROW,
    SIZE,
    SOURCE,
)
from tinytorch.native.pointers import address, at, call, data, elements, types


@jit
def _tasks(routine, tables, share):
    start = data(tables)
    for task in range(tables.shape[0]):
        call(routine, at(start, task * SIZE), share, start)


def _run(routine, tables, shares):
    """Run one share of every table, one after the other, on each of `shares` threads."""
    if shares == 1:
        _tasks(routine, tables, 0)
    else:
        for share in prange(shares):
            _tasks(routine, tables, share)


def _fill(tables, source, other, bias, out, room):
    """Write addresses and strides into the tables; OUT holds bytes from the first element."""
    for task in range(tables.shape[0]):
        table = tables[task]
        table[SOURCE] = address(source)
        table[IMAGE] = elements(source, source.strides[0])
        table[CHANNEL] = elements(source, source.strides[1])
        table[ROW] = elements(source, source.strides[2])
        table[COLUMN] = elements(source, source.strides[3])
        table[OTHER] = address(other)
        table[BIAS] = address(bias) if bias.size > 0 else 0
        table[OUT] += address(out)
        table[ROOM] = address(room)


def _compiled(function: Any, signature: tuple[Any, ...], *, parallel: bool) -> Any:
    compiled: Any = jit(parallel=parallel)(function)
    compiled.compile(signature)
    compiled.disable_compile()
    return compiled


_TABLES = types.Array(types.int64, 2, "C")


@functools.cache
def runner() -> Any:
    """Return the compiled (routine, tables, shares) -> None."""
    return _compiled(_run, (types.int64, _TABLES, types.int64), parallel=True)


@functools.cache
def filler(dtype: str) -> Any:
    """Return the compiled (tables, source, other, bias, out, room) -> None for a data type."""
    kind = getattr(types, dtype)
    images = types.Array(kind, 4, "A", readonly=True)
    signature = (
        _TABLES,
        images,
        images,
        types.Array(kind, 1, "A", readonly=True),
        types.Array(kind, 4, "A"),
        types.Array(types.uint8, 1, "A"),
    )
    return _compiled(_fill, signature, parallel=False)


_SHARES = {
    "pixels": pixels.share,
    "weights": weights.share,
    "max_pool2d": pools.largest,
    "max_pool2d_gradient": pools.largest_gradient,
    "avg_pool2d": pools.mean,
    "avg_pool2d_gradient": pools.mean_gradient,
}


@functools.cache
def _routine(name: str, dtype: str) -> Any:
    place = types.CPointer(getattr(types, dtype))
    signature = types.void(types.CPointer(types.int64), types.int64, place)
    return c_function(_SHARES[name], signature)


def routine(name: str, dtype: str) -> int:
    """Return the address of a routine for a data type, compiled if need be."""
    found: int = _routine(name, dtype).address
    return found
