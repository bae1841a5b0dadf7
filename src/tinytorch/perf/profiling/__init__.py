"""Profiling: time, memory, FLOPs and bytes of functions, layers and models, all of it measured.

Ceilings are those of this machine (`tito machine`), FLOPs and bytes those of the op specs. MB in
a name is 2**20 bytes.
"""

from tinytorch.perf.profiling.context import ProfilerContext
from tinytorch.perf.profiling.flops import FLOPCounter
from tinytorch.perf.profiling.memory import MemoryProfiler
from tinytorch.perf.profiling.profiler import Profiler, quick_profile
from tinytorch.perf.profiling.simple import ProfileResult, SimpleProfiler
from tinytorch.perf.profiling.timer import Timer
from tinytorch.perf.profiling.weights import analyze_weight_distribution

__all__ = [
    "FLOPCounter",
    "MemoryProfiler",
    "ProfileResult",
    "Profiler",
    "ProfilerContext",
    "SimpleProfiler",
    "Timer",
    "analyze_weight_distribution",
    "quick_profile",
]
