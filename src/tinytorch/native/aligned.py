"""Arrays that start where vector loads and stores like them to, and where an array starts."""

from __future__ import annotations

import ctypes
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tinytorch.errors import InvalidValue

_PAGE_BYTES = 4096
_WORTH_PLACING = 1 << 16  # bytes; below, half a page more is too much
# Bytes from which a whole pass over an array is quicker for being aligned than it is to align it.
_WORTH_ALIGNING = 1 << 17


def address_of(array: NDArray[Any]) -> int:
    """Return the address of an array's first element."""
    try:
        # NOTE: a quarter of the time that NumPy takes to say where an array begins.
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]
    except (TypeError, ValueError):  # it can't be written, has gaps, or is empty
        return int(array.__array_interface__["data"][0])


def aligned_empty(
    shape: int | tuple[int, ...], dtype: DTypeLike = np.float32, alignment: int = 64
) -> np.ndarray[Any, Any]:
    """Return an uninitialised C-ordered array whose first byte is a multiple of `alignment`.

    `np.empty` promises 16 bytes; a 64-byte vector that straddles two cache lines costs two loads.
    An array of 64 KiB or more begins in the middle of a page (of 4 KiB), unless `alignment` is
    larger: NumPy's large arrays begin 16 bytes into one, and a loop that writes a little further on
    in a page than it reads waits, for the CPU takes its loads to be of what it has just stored
    (they are told apart by their place in a page first).

    Raises InvalidValue unless `alignment` is a power of two.
    """
    if alignment < 1 or alignment & (alignment - 1):
        raise InvalidValue(f"alignment must be a power of two in bytes, got {alignment!r}")
    wanted = np.dtype(dtype)
    sizes = shape if isinstance(shape, tuple) else (shape,)
    size = prod(sizes) * wanted.itemsize
    period, place = alignment, 0
    if size >= _WORTH_PLACING and alignment <= _PAGE_BYTES // 2:
        period, place = _PAGE_BYTES, _PAGE_BYTES // 2
    raw = np.empty(size + period, np.uint8)
    return np.ndarray(sizes, wanted, raw, (place - address_of(raw)) % period)


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Return an uninitialised C-ordered array, aligned where it is large enough to gain by it."""
    if prod(shape) * dtype.itemsize < _WORTH_ALIGNING:
        return np.empty(shape, dtype)
    return aligned_empty(shape, dtype)
