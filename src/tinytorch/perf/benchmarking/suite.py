"""BenchmarkSuite: every metric of several models, drawn and written down."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tinytorch.errors import MeasurementError, UnknownName
from tinytorch.files import write_whole
from tinytorch.measure import charts
from tinytorch.measure.report import write_png
from tinytorch.measure.sample import Environment
from tinytorch.perf.benchmarking.models import Benchmark
from tinytorch.perf.benchmarking.result import BenchmarkResult

_TITLES = {"latency": "latency, ms", "accuracy": "accuracy", "memory": "peak memory, MB"}
_MORE_IS_BETTER = {"accuracy"}

Results = dict[str, dict[str, BenchmarkResult]]


class BenchmarkSuite:
    """Runs latency, memory and accuracy, and reports them; files go to `output_dir`."""

    def __init__(
        self,
        models: Sequence[Any],
        datasets: Sequence[Any] = (),
        output_dir: str | Path = "benchmark_results",
    ) -> None:
        """Take the models and datasets; nothing is measured or written yet."""
        self.models, self.datasets = list(models), list(datasets)
        self.benchmark = Benchmark(models, datasets)
        self.output_dir = Path(output_dir)
        self.results: Results = {}

    def run_full_benchmark(self, input_shape: Any = None) -> Results:
        """Measure and return {"latency", "memory", "accuracy"}, each {model: BenchmarkResult}.

        "accuracy" is empty where the datasets hold no labels. Energy can't be measured here and is
        absent.
        """
        self.results = {
            "latency": self.benchmark.run_latency_benchmark(input_shape),
            "memory": self.benchmark.run_memory_benchmark(input_shape),
            "accuracy": self.benchmark.run_accuracy_benchmark(),
        }
        return self.results

    def _measured(self, metric: str) -> dict[str, BenchmarkResult]:
        if not self.results:
            self.run_full_benchmark()
        if metric not in _TITLES:
            raise UnknownName("metric", metric, _TITLES)
        if not self.results[metric]:
            raise MeasurementError(
                f"no {metric} was measured: give datasets that hold inputs and labels"
            )
        return self.results[metric]

    def plot_results(self, save_plots: bool = True) -> dict[str, Any]:
        """Draw a bar chart (medians) of each metric; return the charts by metric.

        With `save_plots` each is written as PNG to output_dir.
        """
        if not self.results:
            self.run_full_benchmark()
        drawn = {}
        for metric, found in self.results.items():
            if found:
                rows = [(name, result.median) for name, result in found.items()]
                drawn[metric] = charts.bars(rows, _TITLES[metric])
                if save_plots:
                    write_png(drawn[metric], self.output_dir / f"{metric}.png")
        return drawn

    def pareto(self, x_metric: str, y_metric: str) -> list[tuple[str, float, float, bool]]:
        """Return (model, x, y, on the frontier) by medians, for models that have both metrics."""
        xs, ys = self._measured(x_metric), self._measured(y_metric)
        points = [(name, xs[name].median, ys[name].median) for name in xs if name in ys]
        signs = [-1 if m in _MORE_IS_BETTER else 1 for m in (x_metric, y_metric)]
        costs = {name: (signs[0] * x, signs[1] * y) for name, x, y in points}

        def beaten(mine: tuple[float, float]) -> bool:
            others = (o for o in costs.values() if o != mine)
            return any(o[0] <= mine[0] and o[1] <= mine[1] for o in others)

        return [(name, x, y, not beaten(costs[name])) for name, x, y in points]

    def plot_pareto_frontier(self, x_metric: str = "latency", y_metric: str = "accuracy") -> Path:
        """Draw models by two metrics with the frontier joined, and return the PNG's path.

        Raises MeasurementError where a metric was not measured.
        """
        rows = self.pareto(x_metric, y_metric)
        spec = charts.frontier(rows, _TITLES[x_metric], _TITLES[y_metric])
        return write_png(spec, self.output_dir / f"pareto_{x_metric}_{y_metric}.png")

    def generate_report(self) -> str:
        """Return the results as Markdown; also written, with the values as JSON, to output_dir."""
        if not self.results:
            self.run_full_benchmark()
        here = Environment.now()
        lines = [
            "# Benchmark report",
            "",
            f"{here.cpu_model}, {here.threads} threads, {here.os}; {here.taken_at}.",
        ]
        for metric, found in self.results.items():
            lines += ["", f"## {_TITLES[metric]}", ""]
            lines += _table(found) if found else ["Not measured: the datasets hold no labels."]
        text = "\n".join(lines) + "\n"
        data = {m: {n: r.to_dict() for n, r in found.items()} for m, found in self.results.items()}
        write_whole(self.output_dir / "benchmark_report.md", text)
        write_whole(self.output_dir / "results.json", json.dumps(data, indent=1, default=str))
        return text


def _table(found: Mapping[str, BenchmarkResult]) -> list[str]:
    rows = [
        f"| {name} | {r.median:.4g} | {r.mean:.4g} | {r.ci_lower:.4g} .. {r.ci_upper:.4g} | "
        f"{r.count} |"
        for name, r in found.items()
    ]
    return [
        "| model | median | mean | 95 % interval of the mean | values |",
        "|---" * 5 + "|",
        *rows,
    ]
