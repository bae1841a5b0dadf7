"""ProfilerContext: one block in which functions are timed and their memory is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from tinytorch.backends.recording import recording
from tinytorch.measure.units import figures
from tinytorch.perf.profiling.memory import MemoryProfiler
from tinytorch.perf.profiling.timer import Timer


class ProfilerContext:
    """Profiles the functions that are run through it.

    `with ProfilerContext("product") as p: y = p.profile_function(f, args=(a, b))`; then `elapsed`
    is the seconds in the block, and `results` holds timing, memory and flops of the last function.
    """

    def __init__(
        self,
        name: str = "operation",
        timing_runs: int = 10,
        timing_warmup: int = 2,
        enable_memory: bool = True,
        enable_flops: bool = False,
    ) -> None:
        """Choose what is measured; nothing is, before the block."""
        self.name = name
        self.timing_runs, self.timing_warmup = timing_runs, timing_warmup
        self.enable_memory, self.enable_flops = enable_memory, enable_flops
        self.results: dict[str, Any] = {}
        self.elapsed = 0.0
        self._start = 0.0

    def __enter__(self) -> ProfilerContext:
        self._start = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.elapsed = time.perf_counter() - self._start
        if kind is None:
            print(self.summary())

    def profile_function(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Measure a function (Timer, MemoryProfiler, dispatched FLOPs), and return its result."""
        keywords = dict(kwargs or {})
        found: dict[str, Any] = {
            "timing": Timer().measure(func, self.timing_warmup, self.timing_runs, args, keywords)
        }
        if self.enable_memory:
            found["memory"] = MemoryProfiler().profile(func, args, keywords)
            result = found["memory"].pop("result")
        if self.enable_flops or not self.enable_memory:
            with recording() as recorder:
                result = func(*args, **keywords)
            if self.enable_flops:
                found["flops"] = recorder.totals().flops
        self.results = found
        return result

    def summary(self) -> str:
        """Return what was measured, in a line."""
        parts = [f"{self.name}: {figures(self.elapsed)} s in the block"]
        if "timing" in self.results:
            parts.append(f"p50 {figures(self.results['timing']['p50_ms'])} ms a call")
        if "memory" in self.results:
            parts.append(f"{figures(self.results['memory']['allocated_mb'])} MB at its peak")
        if "flops" in self.results:
            parts.append(f"{self.results['flops']:,} FLOP")
        return ", ".join(parts)
