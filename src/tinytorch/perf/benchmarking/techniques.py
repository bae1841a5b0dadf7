"""What optimisations brought: models against the one that they were made from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinytorch.perf.benchmarking.models import Benchmark
from tinytorch.perf.benchmarking.result import BenchmarkResult

# A loss of accuracy that still counts as none.
_ACCURACY_KEPT = 0.01


def analyze_optimization_techniques(
    base_model: Any, optimized_models: Sequence[Any], datasets: Sequence[Any] = ()
) -> dict[str, Any]:
    """Measure a model and its optimised versions in turns, and say what each brought.

    base_model: its name; base_metrics {metric: median}; optimized_results {model: {metric:
    median}}; improvements {model: {"latency_speedup", "memory_reduction", and where labels are
    there "accuracy_change"}}, ratios of medians over 1 being better; recommendations: a sentence
    a model. What was not measured has no key.
    """
    bench = Benchmark([base_model, *optimized_models], datasets, measurement_runs=30)
    metrics = {
        "latency": bench.run_latency_benchmark(),
        "memory": bench.run_memory_benchmark(),
        "accuracy": bench.run_accuracy_benchmark(),
    }
    base, *others = bench.named
    medians = {
        name: {metric: found[name].median for metric, found in metrics.items() if name in found}
        for name in bench.named
    }
    improvements = {name: _improvements(metrics, base, name) for name in others}
    return {
        "base_model": base,
        "base_metrics": medians[base],
        "optimized_results": {name: medians[name] for name in others},
        "improvements": improvements,
        "recommendations": {name: _advice(found) for name, found in improvements.items()},
    }


def _improvements(
    metrics: dict[str, dict[str, BenchmarkResult]], base: str, name: str
) -> dict[str, float]:
    latency, memory, accuracy = metrics["latency"], metrics["memory"], metrics["accuracy"]
    found = {
        "latency_speedup": latency[base].ratio_to(latency[name]),
        "memory_reduction": memory[base].ratio_to(memory[name]),
    }
    if base in accuracy and name in accuracy:
        found["accuracy_change"] = accuracy[name].median - accuracy[base].median
    return found


def _advice(found: dict[str, float]) -> str:
    gains = []
    if found["latency_speedup"] > 1:
        gains.append(f"{found['latency_speedup']:.2f}x the speed")
    if found["memory_reduction"] > 1:
        gains.append(f"1/{found['memory_reduction']:.2f} of the memory")
    if not gains:
        return "neither faster nor smaller: keep the base model"
    change = found.get("accuracy_change")
    if change is None:
        return f"{' and '.join(gains)}; accuracy not measured"
    if change < -_ACCURACY_KEPT:
        return f"{' and '.join(gains)}, for {-change:.1%} of accuracy: only where that is worth it"
    return f"{' and '.join(gains)}, accuracy kept"
