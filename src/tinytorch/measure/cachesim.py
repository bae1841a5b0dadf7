"""A cache hierarchy in software: why a loop order is slow, in misses for each level.

Set-associative levels with least-recently-used replacement. An access goes to the first level, on
a miss there to the next, and so on to memory; every level that missed takes the line. Writes
allocate as reads do. Left out, as in most textbook models: prefetching, write-backs, address
translation, other cores, and eviction from an inner level because an outer one let go. What comes
out is simulated, never measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinytorch.errors import InvalidValue, ShapeError, UnknownName
from tinytorch.native.codecache import jit

ORDERS = ("ijk", "ikj", "tiled")
_EMPTY = -1
_ROWS_A_CALL = 16


@dataclass(frozen=True)
class CacheLevel:
    """One level: `size_bytes` in sets of `ways` lines of `line_bytes` (a power of two)."""

    name: str
    size_bytes: int
    ways: int
    line_bytes: int = 64

    def __post_init__(self) -> None:
        for field in ("size_bytes", "ways", "line_bytes"):
            value = getattr(self, field)
            if not isinstance(value, int) or value < 1:
                raise InvalidValue(
                    f"{field} of cache level {self.name!r} must be a positive integer, "
                    f"got {value!r}"
                )
        if self.line_bytes & (self.line_bytes - 1):
            raise InvalidValue(
                f"line_bytes of cache level {self.name!r} must be a power of two, "
                f"got {self.line_bytes}"
            )
        if self.size_bytes % (self.ways * self.line_bytes):
            raise InvalidValue(
                f"cache level {self.name!r} of {self.size_bytes} bytes can't be cut into sets of "
                f"{self.ways} ways x {self.line_bytes} bytes: give a multiple of "
                f"{self.ways * self.line_bytes}"
            )

    @property
    def sets(self) -> int:
        """Sets that a line's address chooses among; 1 makes the level fully associative."""
        return self.size_bytes // (self.ways * self.line_bytes)


@dataclass(frozen=True)
class LevelCounts:
    """What one level saw: accesses that reached it, and those that went on."""

    level: CacheLevel
    accesses: int
    misses: int

    @property
    def hits(self) -> int:
        """Accesses that this level served."""
        return self.accesses - self.misses

    @property
    def miss_rate(self) -> float:
        """Misses an access of this level; 0 where none reached it."""
        return self.misses / self.accesses if self.accesses else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        counts = {"accesses": self.accesses, "hits": self.hits, "misses": self.misses}
        return {**asdict(self.level), **counts, "miss_rate": self.miss_rate}


@dataclass(frozen=True)
class CacheReport:
    """A simulated stream; `order` is one of ORDERS with `shape` (M, K, N), or "stream"."""

    order: str
    shape: tuple[int, ...]
    itemsize: int | None
    tile: int | None
    levels: tuple[LevelCounts, ...]

    @property
    def bytes_from_memory(self) -> int:
        """Bytes of the lines that the last level had to fetch."""
        last = self.levels[-1]
        return last.misses * last.level.line_bytes

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that says it is simulated."""
        return {
            "source": "simulated",
            "order": self.order,
            "shape": list(self.shape),
            "itemsize": self.itemsize,
            "tile": self.tile,
            "levels": [counts.to_dict() for counts in self.levels],
            "bytes_from_memory": self.bytes_from_memory,
        }


# ------------------------------------------------------------------------------ compiled loops
#
# `cache` is (tags, geometry, reached). tags: one line number a way, sets one after another, most
# recently used first. geometry, a row a level: log2 of the line, sets, ways, first place in tags.
# reached[l]: accesses that came as far as level l; the last entry: those that came to memory.


@jit(inline=True)
def _access(address, cache):
    tags, geometry, reached = cache
    for level in range(geometry.shape[0]):
        reached[level] += 1
        line = address >> geometry[level, 0]
        ways = geometry[level, 2]
        start = geometry[level, 3] + line % geometry[level, 1] * ways
        way = 0
        while way < ways and tags[start + way] != line:
            way += 1
        hit = way < ways
        if not hit:
            way = ways - 1
        while way > 0:
            tags[start + way] = tags[start + way - 1]
            way -= 1
        tags[start] = line
        if hit:
            return
    reached[-1] += 1


@jit
def _walk_addresses(addresses, cache):
    for address in addresses:
        _access(address, cache)


@jit
def _walk_ijk(rows, layout, cache):
    """Rows of C = A @ B as dot products: c stays in a register until it is written."""
    a, b, c, K, N, itemsize = layout
    for i in range(rows[0], rows[1]):
        for j in range(N):
            for k in range(K):
                _access(a + (i * K + k) * itemsize, cache)
                _access(b + (k * N + j) * itemsize, cache)
            _access(c + (i * N + j) * itemsize, cache)


@jit
def _walk_tiles(rows, tile, layout, cache):
    """One row of tiles, i-k-j inside a tile: A[i, k] in a register, C[i, j] read and written."""
    a, b, c, K, N, itemsize = layout
    for k0 in range(0, K, tile[0]):
        for j0 in range(0, N, tile[1]):
            for i in range(rows[0], rows[1]):
                for k in range(k0, min(k0 + tile[0], K)):
                    _access(a + (i * K + k) * itemsize, cache)
                    for j in range(j0, min(j0 + tile[1], N)):
                        _access(b + (k * N + j) * itemsize, cache)
                        _access(c + (i * N + j) * itemsize, cache)
                        _access(c + (i * N + j) * itemsize, cache)


# ------------------------------------------------------------------------------ public functions

_Cache = tuple[np.ndarray, np.ndarray, np.ndarray]


def _empty_cache(levels: Sequence[CacheLevel]) -> _Cache:
    if not levels:
        raise InvalidValue("a cache needs at least one level, got none")
    geometry = np.empty((len(levels), 4), np.int64)
    first = 0
    for row, level in zip(geometry, levels, strict=True):
        row[:] = level.line_bytes.bit_length() - 1, level.sets, level.ways, first
        first += level.sets * level.ways
    return np.full(first, _EMPTY, np.int64), geometry, np.zeros(len(levels) + 1, np.int64)


def _counts(levels: Sequence[CacheLevel], cache: _Cache) -> tuple[LevelCounts, ...]:
    reached = cache[2].tolist()
    return tuple(map(LevelCounts, levels, reached, reached[1:]))


def simulate_stream(addresses: np.ndarray, levels: Sequence[CacheLevel]) -> CacheReport:
    """Run byte addresses (a vector of integers >= 0), each one access, through empty caches."""
    if addresses.ndim != 1 or addresses.dtype.kind not in "iu":
        raise InvalidValue(
            f"addresses must be a vector of integers, got {addresses.ndim} dimensions "
            f"of {addresses.dtype}"
        )
    if addresses.size and addresses.min() < 0:
        raise InvalidValue(f"addresses can't be negative, got {addresses.min()}")
    cache = _empty_cache(levels)
    _walk_addresses(np.ascontiguousarray(addresses, np.int64), cache)
    return CacheReport("stream", addresses.shape, None, None, _counts(levels, cache))


def simulate_matmul(
    order: str,
    shape: tuple[int, int, int],
    levels: Sequence[CacheLevel],
    itemsize: int = 4,
    tile: int | None = None,
) -> CacheReport:
    """Run the accesses of C = A @ B, shape (M, K, N), through caches that are empty at first.

    A, B and C are C-contiguous and follow each other, each from the start of a line; C holds its
    zeros already. `ijk` makes M*N*(2K + 1) accesses, `ikj` M*K*(3N + 1), and `tiled`, with square
    tiles of `tile` elements a side and i-k-j inside, reads A once for each tile of columns
    instead. Raises UnknownName for an order, ShapeError and InvalidValue for sizes.
    """
    _check_product(order, shape, levels, itemsize, tile)
    M, K, N = shape
    cache = _empty_cache(levels)
    layout = (*_bases(shape, itemsize, max(level.line_bytes for level in levels)), K, N, itemsize)
    # NOTE: a few rows of C a call, because Ctrl-C has to wait while compiled code runs. The outer
    # loop goes over rows in every order, so the stream is the same however they are dealt out.
    step = tile or _ROWS_A_CALL
    for first in range(0, M, step):
        rows = (first, min(first + step, M))
        if order == "ijk":
            _walk_ijk(rows, layout, cache)
        else:
            _walk_tiles(rows, (tile or K, tile or N), layout, cache)
    return CacheReport(order, tuple(shape), itemsize, tile, _counts(levels, cache))


def _bases(shape: tuple[int, int, int], itemsize: int, line_bytes: int) -> tuple[int, int, int]:
    """Return the byte addresses of A, B and C, each at the start of a line."""
    M, K, N = shape
    b = -(-M * K * itemsize // line_bytes) * line_bytes
    return 0, b, b + -(-K * N * itemsize // line_bytes) * line_bytes


def _check_product(
    order: str,
    shape: tuple[int, int, int],
    levels: Sequence[CacheLevel],
    itemsize: int,
    tile: int | None,
) -> None:
    if order not in ORDERS:
        raise UnknownName("loop order", order, ORDERS)
    if len(shape) != 3 or min(shape) < 1:
        raise ShapeError(f"shape must be (M, K, N), each at least 1, got {tuple(shape)}")
    if itemsize not in (4, 8):
        raise InvalidValue(f"itemsize must be 4 or 8 bytes, got {itemsize!r}")
    if (order == "tiled") != (tile is not None) or (tile is not None and tile < 1):
        raise InvalidValue(
            f"order {order!r} with tile={tile}: 'tiled' needs a tile of at least 1 (see "
            "measure.roofline.practical_tile_size), the other orders take none"
        )
    for level in levels:
        if level.line_bytes < itemsize:
            raise InvalidValue(
                f"an element of {itemsize} bytes must fit a line, got {level.line_bytes} bytes "
                f"in cache level {level.name!r}"
            )
