"""The peak of INT8 multiply-adds: the register tile alone, on operands in the first cache.

Beside it nothing is done: no rows are quantised, no sums scaled or stored but the tile's own. It is
the ceiling for a product of codes as peak FLOP/s is for one of floats, and depends on the dot that
the CPU has (native/int8/dots.py). Multiply-adds count as one here; as two operations they are twice
as many.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch.native import threads
from tinytorch.native.aligned import address_of, aligned_empty
from tinytorch.native.codecache import jit, prange
from tinytorch.native.int8 import dots, product, routines
from tinytorch.native.int8.dots import Dot
from tinytorch.native.pointers import call, types

_DEPTH = 512


def _repeat(tile, places, a_row, kinds, steps, repeats):
    """Multiply a tile of each row of `places` (addresses of a, b, sums), `repeats` times."""
    for t in prange(places.shape[0]):
        for _ in range(repeats):
            call(tile, places[t, 0], a_row, places[t, 1], kinds, steps, places[t, 2])


@functools.cache
def _compiled() -> Any:
    compiled: Any = jit(parallel=True)(_repeat)
    size = types.int64
    compiled.compile((size, types.Array(size, 2, "C"), size, size, size, size))
    compiled.disable_compile()
    return compiled


def _operands(dot: Dot, count: int) -> tuple[list[Any], Any, Any]:
    """Return what must be kept, the addresses by thread, and the packed weights."""
    weights = np.random.default_rng(0).integers(-16, 16, (_DEPTH, dot.columns), np.int8)
    packed = product.pack(weights, dot)
    kept, places = [], np.empty((count, 3), np.int64)
    for t in range(count):
        codes = aligned_empty(dot.rows * dot.padded(_DEPTH) * dot.code_bytes, np.uint8)
        codes[...] = 1
        own, sums = aligned_empty(packed.codes.shape, np.uint8), aligned_empty(4096, np.int32)
        own[...] = packed.codes  # whole panels as they are
        kept += [codes, own, sums]
        places[t] = address_of(codes), address_of(own), address_of(sums)
    return kept, places, packed


def peak_call(multiply_adds: int, count: int) -> tuple[Callable[[], None], int]:
    """Return a call that does about so many multiply-adds at the peak, and how many exactly.

    Its `count` threads share them; the thread count in use must be that.
    """
    dot = dots.fastest()
    kept, places, packed = _operands(dot, count)
    tile = routines.addresses(dot.name, dot.code_bytes, "float32", "float32")[1]
    once = dot.rows * dot.columns * _DEPTH * count
    row = dot.padded(_DEPTH) * dot.code_bytes
    arguments = (tile, places, row, address_of(packed.ways), dot.steps(_DEPTH))
    repeats = max(1, round(multiply_adds / once))
    run = _compiled()

    def call(kept: Any = kept) -> None:  # the operands live as long as the call
        run(*arguments, repeats)

    return call, once * repeats


def measure_peak(count: int | None = None, seconds: float = 0.5) -> tuple[float, str]:
    """Return billions of multiply-adds a second on `count` threads (default: all in use), and how.

    The second is the name of the dot. The median of samples of a few milliseconds.
    """
    count = count or threads.get_num_threads()
    with threads.use_threads(count):
        call, multiply_adds = peak_call(1_000_000_000 * count, count)
        rates: list[float] = []
        end = time.perf_counter() + seconds
        while len(rates) < 7 or time.perf_counter() < end:
            start = time.perf_counter()
            call()
            rates.append(multiply_adds / (time.perf_counter() - start) / 1e9)
    return statistics.median(rates), dots.fastest().name
