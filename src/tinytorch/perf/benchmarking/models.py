"""Benchmark: several models side by side, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from tinytorch.errors import InvalidValue, MeasurementError, ShapeError, UnknownName
from tinytorch.perf import models as anatomy
from tinytorch.perf.benchmarking import data
from tinytorch.perf.benchmarking.result import BenchmarkResult, precise_timer
from tinytorch.perf.profiling.profiler import Profiler
from tinytorch.perf.profiling.timer import checked_count

_DEFAULT_SHAPE = (1, 28, 28)
_METRICS = ("latency", "accuracy", "memory")


class Benchmark:
    """Measures models on the same inputs, one call of each in turn.

    datasets: each a pair (inputs, labels), a mapping with those, a TensorDataset or a DataLoader;
    what holds no labels gives no accuracy. Results are keyed by the models' names.
    """

    def __init__(
        self,
        models: Sequence[Any],
        datasets: Sequence[Any] = (),
        warmup_runs: int = 5,
        measurement_runs: int = 10,
    ) -> None:
        """Take the models and datasets; nothing is measured yet."""
        self.models, self.datasets = list(models), list(datasets)
        if not self.models:
            raise InvalidValue("a benchmark needs at least one model, got none")
        self.warmup_runs = checked_count(warmup_runs, "warmup_runs", 0)
        self.measurement_runs = checked_count(measurement_runs, "measurement_runs", 1)

    @property
    def named(self) -> dict[str, Any]:
        """The models by name; a name that comes again gets its place added."""
        found: dict[str, Any] = {}
        for i, model in enumerate(self.models):
            name = anatomy.name_of(model, i)
            found[name if name not in found else f"{name}_{i}"] = model
        return found

    def _shape(self, input_shape: Any) -> tuple[int, ...]:
        if input_shape is not None:
            return anatomy.checked_shape(input_shape)
        return (
            data.first_shape(self.datasets)
            or anatomy.natural_shape(self.models[0])
            or _DEFAULT_SHAPE
        )

    def run_latency_benchmark(self, input_shape: Any = None) -> dict[str, BenchmarkResult]:
        """Return milliseconds of single calls, by model.

        Without `input_shape`, one sample of the first dataset, else what the first model's first
        layer takes, else (1, 28, 28). metadata has p50, p90 and p99, and throughput_per_s (samples
        a second at the median).
        """
        shape = self._shape(input_shape)
        calls = {name: _caller(model, shape) for name, model in self.named.items()}
        taken: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(self.warmup_runs):
            for call in calls.values():
                call()
        with precise_timer():
            for run in range(self.measurement_runs):
                # Forwards and backwards, so that a drift of the clock meets all alike.
                for name in list(calls)[:: 1 if run % 2 == 0 else -1]:
                    start = time.perf_counter_ns()
                    calls[name]()
                    taken[name].append((time.perf_counter_ns() - start) / 1e6)
        return {name: _latency_result(name, ms, shape) for name, ms in taken.items()}

    def run_accuracy_benchmark(self) -> dict[str, BenchmarkResult]:
        """Return each model's accuracy, 0 to 1, one value a dataset that has labels.

        A model that could not be judged has no entry.
        """
        found = {}
        for name, model in self.named.items():
            values = [data.accuracy_of(model, dataset) for dataset in self.datasets]
            measured = [v for v in values if v is not None]
            if measured:
                about = {"unit": "share", "datasets": len(measured)}
                found[name] = BenchmarkResult(f"{name}_accuracy", measured, about)
        return found

    def run_memory_benchmark(self, input_shape: Any = None) -> dict[str, BenchmarkResult]:
        """Return each model's peak memory in a forward pass, in MB (2**20 bytes).

        metadata has the parts of Profiler.measure_memory.
        """
        shape, found = self._shape(input_shape), {}
        for name, model in self.named.items():
            runs = [Profiler().measure_memory(model, shape) for _ in range(3)]
            about = {"unit": "MB", "input_shape": shape, **runs[-1]}
            values = [run["peak_memory_mb"] for run in runs]
            found[name] = BenchmarkResult(f"{name}_memory", values, about)
        return found

    def compare_models(self, metric: str = "latency") -> list[dict[str, Any]]:
        """Return a row a model, the best first: model, metric, mean, std, median, ci_lower, ...

        Latency rows have speedup_over_first, the ratio of medians to the first model given.
        Raises UnknownName for another metric, MeasurementError for accuracy without labels.
        """
        if metric not in _METRICS:
            raise UnknownName("metric", metric, _METRICS)
        run = {
            "latency": self.run_latency_benchmark,
            "accuracy": self.run_accuracy_benchmark,
            "memory": self.run_memory_benchmark,
        }[metric]
        results = run()
        if not results:
            raise MeasurementError(f"no {metric} was measured: the datasets hold no labels")
        rows = [_row(name, metric, result) for name, result in results.items()]
        if metric == "latency":
            first = next(iter(results.values()))
            for row in rows:
                row["speedup_over_first"] = first.ratio_to(results[row["model"]])
        return sorted(rows, key=lambda row: float(row["median"]), reverse=metric == "accuracy")


def _row(name: str, metric: str, result: BenchmarkResult) -> dict[str, Any]:
    keys = ("mean", "std", "median", "min", "max", "ci_lower", "ci_upper", "count")
    return {"model": name, "metric": metric, **{key: getattr(result, key) for key in keys}}


def _caller(model: Any, shape: tuple[int, ...]) -> Callable[[], Any]:
    x = anatomy.input_for(model, shape)
    try:
        anatomy.run(model, x)
    except ShapeError as error:
        raise ShapeError(
            f"{anatomy.name_of(model)} does not take an input of shape {shape} ({error}): "
            "pass input_shape, or datasets whose samples it takes"
        ) from error
    return lambda: anatomy.run(model, x)


def _latency_result(name: str, ms: list[float], shape: tuple[int, ...]) -> BenchmarkResult:
    plain = BenchmarkResult(f"{name}_latency", ms)
    samples = shape[0] if len(shape) > 1 else 1
    about = {
        "unit": "ms",
        "input_shape": shape,
        **{f"p{p}": plain.percentile(p) for p in (50, 90, 99)},
        "throughput_per_s": 1e3 * samples / plain.median if plain.median else None,
    }
    return BenchmarkResult(plain.metric_name, ms, about)
