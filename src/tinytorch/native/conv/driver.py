"""Running tables of numbers: one compiled loop that deals shares out to threads, for every routine.

A routine is compiled once a data type and called by its address with (table, share, any address).
"""

from __future__ import annotations

import functools
from typing import Any

from tinytorch.native.codecache import c_function, jit, prange
from tinytorch.native.conv import pixels
from tinytorch.native.conv.fields import SIZE
from tinytorch.native.gemm.pointers import at, call, data, types


@jit
def _tasks(address, tables, share):
    start = data(tables)
    for task in range(tables.shape[0]):
        call(address, at(start, task * SIZE), share, start)


def _run(address, tables, shares):
    """Run one share of every table, one after the other, on each of `shares` threads."""
    if shares == 1:
        _tasks(address, tables, 0)
    else:
        for share in prange(shares):
            _tasks(address, tables, share)


@functools.cache
def runner() -> Any:
    """Return the compiled (address, tables, shares) -> None."""
    compiled: Any = jit(parallel=True)(_run)
    compiled.compile((types.int64, types.Array(types.int64, 2, "C"), types.int64))
    compiled.disable_compile()
    return compiled


@functools.cache
def _routine(name: str, dtype: str) -> Any:
    place = types.CPointer(getattr(types, dtype))
    signature = types.void(types.CPointer(types.int64), types.int64, place)
    return c_function({"pixels": pixels.share}[name], signature)


def routine(name: str, dtype: str) -> int:
    """Return the address of a routine for 'float32' or 'float64', compiled if need be."""
    address: int = _routine(name, dtype).address
    return address
