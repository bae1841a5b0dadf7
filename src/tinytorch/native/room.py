"""Scratch memory that is kept from call to call: fresh pages would cost more than the work."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinytorch.native.aligned import address_of, aligned_empty

Array = NDArray[Any]


class Room(threading.local):
    """Scratch memory of each Python thread. What it hands out holds until the next call."""

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)
        self._start = 0
        self._cut: dict[tuple[int, int, Any], Array] = {}

    def _grow(self, size: int) -> None:
        if self._bytes.size < size:
            self._bytes = aligned_empty(size, np.uint8)
            self._start = address_of(self._bytes)
            self._cut.clear()

    def address(self, size: int) -> int:
        """Return the address of `size` bytes, a multiple of 64."""
        self._grow(size)
        return self._start

    def rows(self, count: int, size: int, dtype: Any) -> Array:
        """Return `count` rows of `size` elements, aligned to 64 bytes."""
        known = self._cut.get((count, size, dtype))
        return self._cut_out(count, size, dtype) if known is None else known

    def _cut_out(self, count: int, size: int, dtype: Any) -> Array:
        needed = count * size * dtype.itemsize
        self._grow(needed)
        rows: Array = self._bytes[:needed].view(dtype).reshape(count, size)
        self._cut[count, size, dtype] = rows
        return rows
