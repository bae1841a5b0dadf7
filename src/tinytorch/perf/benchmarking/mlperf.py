"""MLPerf: standard tasks with targets, in the scenarios of MLPerf Inference.

Nothing here is an official MLPerf result. The tasks and targets are those that TinyTorch programs
know; inputs are the user's, or seeded noise, on which speed can be measured and accuracy can't.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, UnknownName
from tinytorch.files import write_whole
from tinytorch.measure.sample import Environment
from tinytorch.perf import models
from tinytorch.perf.benchmarking import data, scenarios
from tinytorch.perf.profiling.timer import checked_count

_OFFLINE_SAMPLES = 32


@dataclass(frozen=True)
class Task:
    """One standard benchmark: the shape of a sample (batch first), and its targets."""

    description: str
    input_shape: tuple[int, ...]
    target_accuracy: float
    max_latency_ms: float


TASKS: Mapping[str, Task] = {
    "keyword_spotting": Task("a spoken word from a second of sound", (1, 16000), 0.90, 100.0),
    "visual_wake_words": Task("is a person in the picture", (1, 96, 96, 3), 0.80, 200.0),
    "anomaly_detection": Task("does the machine sound wrong", (1, 640), 0.85, 50.0),
    "image_classification": Task("one of ten classes of pictures", (1, 32, 32, 3), 0.75, 150.0),
}


class MLPerf:
    """Runs standard tasks: single-stream, offline and server, driven by a fixed seed."""

    def __init__(self, random_seed: int = 42) -> None:
        """Keep the seed of inputs and arrivals."""
        self.random_seed = checked_count(random_seed, "random_seed", 0)
        self.benchmarks: dict[str, dict[str, Any]] = {n: asdict(t) for n, t in TASKS.items()}

    def run_standard_benchmark(
        self,
        model: Any,
        name: str,
        num_runs: int = 100,
        test_inputs: Any = None,
        labels: Any = None,
    ) -> dict[str, Any]:
        """Measure a model on a task and return what was measured.

        test_inputs: samples, batch first (default: seeded noise of the task's shape); labels: a
        class index each. Keys: single-stream latencies (mean_, std_, p50_, p90_, p99_latency_ms)
        and throughput_fps; offline_throughput_fps; server_queries_per_s, the Poisson rate at which
        99 % are answered within the target latency; latency_met (p99 within it); accuracy and
        accuracy_met, None without labels; compliant, None where accuracy is not known and the
        latency was met. Raises UnknownName for a task that is none.
        """
        if name not in TASKS:
            raise UnknownName("benchmark", name, TASKS)
        task, runs = TASKS[name], checked_count(num_runs, "num_runs", 1)
        samples = self._samples(model, task, runs, test_inputs)
        if labels is not None and test_inputs is None:
            raise InvalidValue("labels need the test_inputs that they belong to")
        single = [data.as_input(samples[i : i + 1]) for i in range(len(samples))]
        batch = data.as_input(_as_many(samples, _OFFLINE_SAMPLES))

        def query(i: int) -> Any:
            return models.run(model, single[i % len(single)])

        stream = scenarios.single_stream(query, runs)
        offline = scenarios.offline(lambda: models.run(model, batch), len(batch))
        served = scenarios.server(query, task.max_latency_ms, runs, self.random_seed)
        accuracy = None if labels is None else data.accuracy_of(model, (samples, labels))
        latency_met = stream["p99_latency_ms"] <= task.max_latency_ms
        accuracy_met = None if accuracy is None else accuracy >= task.target_accuracy
        return {
            "benchmark_name": name,
            "model_name": getattr(model, "name", type(model).__name__),
            **{k: v for k, v in stream.items() if k.endswith("_ms") and k != "latencies_ms"},
            "throughput_fps": stream["throughput_per_s"],
            "offline_throughput_fps": offline["throughput_per_s"],
            "server_queries_per_s": served["queries_per_s"],
            "accuracy": accuracy,
            "target_accuracy": task.target_accuracy,
            "target_latency_ms": task.max_latency_ms,
            "accuracy_met": accuracy_met,
            "latency_met": latency_met,
            "compliant": accuracy_met if latency_met else False,
            "inputs": "given" if test_inputs is not None else "seeded noise",
            "num_runs": runs,
            "random_seed": self.random_seed,
            "scenarios": {"single_stream": stream, "offline": offline, "server": served},
            "environment": asdict(Environment.now()),
        }

    def _samples(self, model: Any, task: Task, runs: int, given: Any) -> Any:
        if given is not None:
            samples = np.asarray(given.data if isinstance(given, Tensor) else given)
            if not samples.ndim or not len(samples):
                raise InvalidValue(f"test_inputs must be samples, batch first: {samples.shape}")
            return samples
        count = min(runs, _OFFLINE_SAMPLES)
        shape = (count, *task.input_shape[1:])
        return models.input_for(model, shape, self.random_seed).data

    def run_all_benchmarks(self, model: Any, num_runs: int = 100) -> dict[str, dict[str, Any]]:
        """Run every task that the model takes, and return the results by name.

        A task whose inputs do not fit the model is marked: {"benchmark_name", "not_run": why}.
        """
        results: dict[str, dict[str, Any]] = {}
        for name in TASKS:
            try:
                results[name] = self.run_standard_benchmark(model, name, num_runs)
            except ValueError as error:
                results[name] = {"benchmark_name": name, "not_run": str(error)}
        return results

    def generate_compliance_report(
        self, results: Mapping[str, Any], output_path: str | Path = "tinymlperf_report.json"
    ) -> str:
        """Write results as JSON, and return them as a Markdown table.

        `results` are those of run_all_benchmarks, or of one task.
        """
        by_name = {results["benchmark_name"]: results} if "benchmark_name" in results else results
        if not by_name:
            raise InvalidValue("there are no results to report: run a benchmark first")
        report = {"seed": self.random_seed, "python": platform.python_version(), "results": by_name}
        write_whole(Path(output_path), json.dumps(report, indent=1, default=str))
        head = "| benchmark | p99 latency | target | accuracy | target | compliant |"
        lines = ["# Compliance", "", head, "|---|---|---|---|---|---|"]
        lines += [_line(name, result) for name, result in by_name.items()]
        lines += ["", f"Seed {self.random_seed}. No official MLPerf result."]
        return "\n".join(lines)


def _line(name: str, result: Mapping[str, Any]) -> str:
    if "not_run" in result:
        return f"| {name} | not run: {result['not_run']} | | | | |"
    accuracy = result["accuracy"]
    told = {True: "yes", False: "no", None: "not decided"}[result["compliant"]]
    return (
        f"| {name} | {result['p99_latency_ms']:.3f} ms | {result['target_latency_ms']:g} ms | "
        f"{'not measured' if accuracy is None else f'{accuracy:.1%}'} | "
        f"{result['target_accuracy']:.0%} | {told} |"
    )


def _as_many(samples: Any, count: int) -> Any:
    """Return `count` samples, again from the start where there are fewer."""
    return samples[np.arange(count) % len(samples)]
