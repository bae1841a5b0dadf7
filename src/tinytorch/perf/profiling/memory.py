"""MemoryProfiler: what one call takes in memory, as tracemalloc sees it."""

from __future__ import annotations

import contextlib
import gc
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tinytorch.errors import InvalidValue
from tinytorch.perf.models import MIB


@dataclass
class TracedMemory:
    """Bytes that were alive before, at most, and after a block."""

    before: int = 0
    peak: int = 0
    after: int = 0


@contextlib.contextmanager
def traced_memory() -> Iterator[TracedMemory]:
    """Trace Python objects and array buffers in the block; figures are there once it is left.

    Where nothing traced before, `before` is 0: older memory is not seen.
    """
    found, tracing = TracedMemory(), tracemalloc.is_tracing()
    gc.collect()
    if not tracing:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        found.before = tracemalloc.get_traced_memory()[0]
        yield found
        found.after, found.peak = tracemalloc.get_traced_memory()
    finally:
        if not tracing:
            tracemalloc.stop()


class MemoryProfiler:
    """Measures memory around a call. To count buffers too: `tinytorch.measure.memory`."""

    def profile(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Call `func(*args, **kwargs)` once and return megabytes (2**20 bytes) and its result.

        Keys: baseline_mb (alive before), peak_mb (most alive at once), final_mb (alive after, the
        result included), allocated_mb (peak - baseline) and result.
        """
        if not callable(func):
            raise InvalidValue(f"MemoryProfiler calls a function, got a {type(func).__name__}")
        with traced_memory() as found:
            result = func(*args, **dict(kwargs or {}))
        return {
            "baseline_mb": found.before / MIB,
            "final_mb": found.after / MIB,
            "peak_mb": found.peak / MIB,
            "allocated_mb": (found.peak - found.before) / MIB,
            "result": result,
        }
