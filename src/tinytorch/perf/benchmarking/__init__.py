"""Benchmarking models: latency, memory, accuracy, scenarios; what was not measured is absent."""

from tinytorch.perf.benchmarking.functions import benchmark
from tinytorch.perf.benchmarking.mlperf import MLPerf
from tinytorch.perf.benchmarking.models import Benchmark
from tinytorch.perf.benchmarking.result import BenchmarkResult, precise_timer
from tinytorch.perf.benchmarking.scenarios import offline, server, single_stream
from tinytorch.perf.benchmarking.suite import BenchmarkSuite
from tinytorch.perf.benchmarking.techniques import analyze_optimization_techniques

TinyMLPerf = MLPerf

__all__ = [
    "Benchmark",
    "BenchmarkResult",
    "BenchmarkSuite",
    "MLPerf",
    "TinyMLPerf",
    "analyze_optimization_techniques",
    "benchmark",
    "offline",
    "precise_timer",
    "server",
    "single_stream",
]
