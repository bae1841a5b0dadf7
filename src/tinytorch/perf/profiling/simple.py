"""SimpleProfiler: one call's time, CPU time and memory, under the names of earlier versions."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

from tinytorch.errors import InvalidValue
from tinytorch.measure.memory import resident_bytes
from tinytorch.perf.models import MIB
from tinytorch.perf.profiling.memory import traced_memory


class ProfileResult(dict[str, Any]):
    """What `SimpleProfiler.profile` measured, by name; it also unpacks as `result, metrics`.

    So iterating over it gives those two; keys() gives the names.
    """

    def __iter__(self) -> Iterator[Any]:
        return iter((self["result"], dict(self.items())))


class SimpleProfiler:
    """Runs a function and says what it took."""

    def __init__(self, track_memory: bool = True, track_cpu: bool = True) -> None:
        """Choose what is measured besides wall time."""
        self.track_memory, self.track_cpu = track_memory, track_cpu

    def profile(
        self,
        func: Callable[..., Any],
        *args: Any,
        name: str | None = None,
        warmup: bool = True,
        **kwargs: Any,
    ) -> ProfileResult:
        """Call `func(*args, **kwargs)` and return what one call took.

        name; wall_time and cpu_time in seconds (CPU time of all threads); cpu_efficiency, cpu_time
        / wall_time: 1 is one CPU kept busy; memory_before_mb and memory_after_mb, resident memory;
        peak_memory_mb, the most that the call had allocated at once; memory_delta_mb, after -
        before; result. What is not tracked has no key. A function's exception propagates.

        With `warmup` there are up to two calls before the timed one, the second for the peak. Else
        the only call is traced while it is timed, which slows Python code down.
        """
        if not callable(func):
            raise InvalidValue(f"SimpleProfiler calls a function, got a {type(func).__name__}")
        call = functools.partial(func, *args, **kwargs)
        taken = ProfileResult(name=name or getattr(func, "__name__", type(func).__name__))
        peak = None
        if warmup:
            call()
            peak = _peak_bytes(call) if self.track_memory else None
        before = resident_bytes()
        if self.track_memory and peak is None:
            with traced_memory() as found:
                self._time(call, taken)
            peak = found.peak - found.before
        else:
            self._time(call, taken)
        if peak is not None:
            after = resident_bytes()
            taken["memory_before_mb"] = before / MIB
            taken["memory_after_mb"] = after / MIB
            taken["memory_delta_mb"] = (after - before) / MIB
            taken["peak_memory_mb"] = peak / MIB
        return taken

    def _time(self, call: Callable[[], Any], taken: ProfileResult) -> None:
        cpu, wall = time.process_time(), time.perf_counter()
        taken["result"] = call()
        wall_seconds = time.perf_counter() - wall
        cpu_seconds = time.process_time() - cpu
        taken["wall_time"] = wall_seconds
        if self.track_cpu:
            taken["cpu_time"] = cpu_seconds
            taken["cpu_efficiency"] = cpu_seconds / wall_seconds if wall_seconds else 0.0


def _peak_bytes(call: Callable[[], Any]) -> int:
    with traced_memory() as found:
        call()
    return found.peak - found.before
