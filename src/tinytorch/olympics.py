"""The capstone: a model measured before and after, and a submission that says how.

Every figure in a submission was measured by BenchmarkReport, or is a ratio of such figures.
"""

from __future__ import annotations

import datetime
import enum
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch import __version__
from tinytorch.core.layers import Linear
from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, MeasurementError, ShapeError, UnknownName
from tinytorch.files import write_whole
from tinytorch.measure import machine
from tinytorch.perf import models
from tinytorch.perf.benchmarking.data import accuracy_of
from tinytorch.perf.benchmarking.scenarios import offline, single_stream
from tinytorch.perf.models import MIB

__all__ = [
    "BenchmarkReport",
    "OlympicEvent",
    "SimpleMLP",
    "generate_submission",
    "qualifies_event",
    "save_submission",
    "validate_submission_schema",
]


class SimpleMLP:
    """Two linear layers with a ReLU between them."""

    def __init__(self, input_size: int = 10, hidden_size: int = 20, output_size: int = 3) -> None:
        """Initialise as Linear does (NumPy's seed, or tinytorch.manual_seed)."""
        self.fc1 = Linear(input_size, hidden_size)
        self.fc2 = Linear(hidden_size, output_size)

    def forward(self, x: Any) -> Any:
        """Return scores (N, output_size) of inputs (N, input_size)."""
        return self.fc2(self.fc1(x).relu())

    def __call__(self, x: Any) -> Any:
        """Return forward(x)."""
        return self.forward(x)

    def parameters(self) -> list[Any]:
        """Return weights and biases, first layer first."""
        return [*self.fc1.parameters(), *self.fc2.parameters()]

    def count_parameters(self) -> int:
        """Return how many numbers the parameters are."""
        return models.parameter_count(self)


class BenchmarkReport:
    """Measures one model; `metrics` is empty until then."""

    def __init__(self, model_name: str = "model") -> None:
        """Name the model, and note machine and time."""
        self.model_name = model_name
        self.metrics: dict[str, float] = {}
        self.timestamp = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        seen = machine.detect()
        self.system_info = {
            "platform": platform.platform(),
            "python_version": platform.python_version(),
            "numpy_version": np.__version__,
            "cpu": seen.cpu_model,
            "cpus": seen.usable_cpus,
            "machine": machine.fingerprint(),
        }

    def benchmark_model(self, model: Any, X: Any, y: Any, num_runs: int = 100) -> dict[str, float]:
        """Measure a model on inputs X (batch first) with class indices y; return the metrics.

        parameter_count; model_size_mb (2**20 bytes, as stored); accuracy, 0 to 1;
        latency_ms_mean, _std, _p50 and _p99 of one sample at a time (num_runs calls);
        throughput_samples_per_sec of all of X at once.
        """
        whole = X if isinstance(X, Tensor) else Tensor(X)
        labels = np.asarray(y.data if isinstance(y, Tensor) else y)
        if not whole.shape or not whole.shape[0] or len(whole) != labels.shape[0]:
            raise ShapeError(
                f"X and y must hold as many samples, at least one; got {whole.shape} and "
                f"{labels.shape}"
            )
        accuracy = accuracy_of(model, (whole, labels))
        assert accuracy is not None
        rows = [whole[i : i + 1] for i in range(min(len(whole), 64))]
        stream = single_stream(lambda i: models.run(model, rows[i % len(rows)]), num_runs)
        batch = offline(lambda: models.run(model, whole), len(whole))
        self.metrics = {
            "parameter_count": models.parameter_count(model),
            "model_size_mb": models.parameter_bytes(model) / MIB,
            "accuracy": accuracy,
            "latency_ms_mean": stream["mean_latency_ms"],
            "latency_ms_std": stream["std_latency_ms"],
            "latency_ms_p50": stream["p50_latency_ms"],
            "latency_ms_p99": stream["p99_latency_ms"],
            "throughput_samples_per_sec": batch["throughput_per_s"],
        }
        return self.metrics


def _measured(report: BenchmarkReport) -> dict[str, Any]:
    if not report.metrics:
        raise MeasurementError(
            f"{report.model_name} was not measured: call benchmark_model(model, X, y) first"
        )
    return {"model_name": report.model_name, "metrics": dict(report.metrics)}


def generate_submission(
    baseline: BenchmarkReport,
    optimized: BenchmarkReport | None = None,
    student_name: str | None = None,
    techniques_applied: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return a submission of plain data from one or two measured reports.

    With `optimized`, improvements holds speedup (of the mean latency), compression_ratio (of
    sizes) and accuracy_delta. Raises MeasurementError where a report has no metrics, or the two
    come from two machines.
    """
    submission: dict[str, Any] = {
        "tinytorch_version": __version__,
        "submission_type": "capstone_benchmark",
        "timestamp": baseline.timestamp,
        "system_info": dict(baseline.system_info),
        "baseline": _measured(baseline),
    }
    if student_name:
        submission["student_name"] = student_name
    if optimized is not None:
        submission["optimized"] = {
            **_measured(optimized),
            "techniques_applied": list(techniques_applied or []),
        }
        submission["improvements"] = _improvements(baseline, optimized)
    return submission


def _improvements(baseline: BenchmarkReport, optimized: BenchmarkReport) -> dict[str, float]:
    here, there = (r.system_info["machine"] for r in (baseline, optimized))
    if here != there:
        raise MeasurementError(
            f"the baseline was measured on machine {here} and the optimised model on {there}: "
            "measure both on one"
        )
    before, after = baseline.metrics, optimized.metrics
    return {
        "speedup": before["latency_ms_mean"] / after["latency_ms_mean"],
        "compression_ratio": before["model_size_mb"] / after["model_size_mb"],
        "accuracy_delta": after["accuracy"] - before["accuracy"],
    }


def save_submission(submission: Mapping[str, Any], path: str | Path = "submission.json") -> str:
    """Check a submission and write it as JSON; return the path."""
    validate_submission_schema(submission)
    return str(write_whole(Path(path), json.dumps(submission, indent=2)))


_REQUIRED = {
    "tinytorch_version": str,
    "submission_type": str,
    "timestamp": str,
    "system_info": Mapping,
    "baseline": Mapping,
}
_METRICS = (
    "parameter_count",
    "model_size_mb",
    "accuracy",
    "latency_ms_mean",
    "latency_ms_std",
    "throughput_samples_per_sec",
)


def validate_submission_schema(submission: Any) -> bool:
    """Return True for a well-formed submission; raises InvalidValue that names what is wrong."""
    if not isinstance(submission, Mapping):
        raise InvalidValue(f"a submission is a mapping, got a {type(submission).__name__}")
    for key, kind in _REQUIRED.items():
        if key not in submission:
            raise InvalidValue(f"the submission lacks {key!r}")
        if not isinstance(submission[key], kind):
            raise InvalidValue(f"{key!r} must be a {kind.__name__}, got {submission[key]!r}")
    for part in ("baseline", "optimized"):
        if part in submission:
            _check_report(part, submission[part])
    if "optimized" in submission:
        gains = submission.get("improvements")
        if not isinstance(gains, Mapping):
            raise InvalidValue("a submission with 'optimized' needs 'improvements'")
        for key in ("speedup", "compression_ratio", "accuracy_delta"):
            _check_number(f"improvements.{key}", gains.get(key), -1 if "delta" in key else 0)
    return True


def _check_report(part: str, report: Any) -> None:
    if not isinstance(report, Mapping) or not isinstance(report.get("metrics"), Mapping):
        raise InvalidValue(f"{part!r} needs model_name and metrics, got {report!r}")
    if not isinstance(report.get("model_name"), str):
        raise InvalidValue(f"{part}.model_name must be a string, got {report.get('model_name')!r}")
    for key in _METRICS:
        _check_number(f"{part}.metrics.{key}", report["metrics"].get(key), 0)
    if report["metrics"]["accuracy"] > 1:
        raise InvalidValue(
            f"{part}.metrics.accuracy is a share, 0 to 1, got {report['metrics']['accuracy']!r}"
        )


def _check_number(name: str, value: Any, least: float) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not np.isfinite(value) or value < least:
        raise InvalidValue(f"{name} must be a number of at least {least}, got {value!r}")


class OlympicEvent(enum.Enum):
    """The events of the competition."""

    LATENCY_SPRINT = "latency_sprint"
    MEMORY_CHALLENGE = "memory_challenge"
    ACCURACY_CONTEST = "accuracy_contest"
    ALL_AROUND = "all_around"
    EXTREME_PUSH = "extreme_push"


# For each event: the least accuracy, and the most latency (ms) and size (MB) where it asks for one.
_RULES: Mapping[OlympicEvent, tuple[float, float, float]] = {
    OlympicEvent.LATENCY_SPRINT: (0.85, np.inf, np.inf),
    OlympicEvent.MEMORY_CHALLENGE: (0.85, np.inf, np.inf),
    OlympicEvent.ACCURACY_CONTEST: (0.0, 100.0, 10.0),
    OlympicEvent.ALL_AROUND: (0.85, 100.0, 10.0),
    OlympicEvent.EXTREME_PUSH: (0.80, np.inf, np.inf),
}


def qualifies_event(metrics: Mapping[str, float], event: OlympicEvent | str) -> bool:
    """Say whether metrics of BenchmarkReport meet an event's conditions.

    Latency sprint and memory challenge: accuracy at least 85 %. Accuracy contest: under 100 ms and
    10 MB. All-around: all of these. Extreme push: accuracy at least 80 %. Raises InvalidValue where
    a metric that the event asks for was not measured.
    """
    chosen = _event(event)
    least, most_ms, most_mb = _RULES[chosen]
    accuracy = _metric(metrics, ("accuracy",)) if least else 1.0
    latency = _metric(metrics, ("latency_ms_mean", "latency_ms")) if most_ms < np.inf else 0.0
    size = _metric(metrics, ("model_size_mb", "memory_mb")) if most_mb < np.inf else 0.0
    return accuracy >= least and latency < most_ms and size < most_mb


def _event(event: OlympicEvent | str) -> OlympicEvent:
    if isinstance(event, OlympicEvent):
        return event
    known = {e.value: e for e in OlympicEvent}
    key = str(event).lower()
    if key not in known:
        raise UnknownName("event", event, known)
    return known[key]


def _metric(metrics: Mapping[str, float], names: tuple[str, ...]) -> float:
    for name in names:
        if name in metrics:
            _check_number(name, metrics[name], 0)
            return float(metrics[name])
    raise InvalidValue(f"the event asks for {names[0]}, and only {sorted(metrics)} were measured")
