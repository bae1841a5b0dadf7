"""The capstone: every figure measured, and submissions checked field by field."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytorch.capstone
import tinytorch.olympics
from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, MeasurementError, ShapeError, UnknownName
from tinytorch.olympics import (
    BenchmarkReport,
    OlympicEvent,
    SimpleMLP,
    generate_submission,
    qualifies_event,
    save_submission,
    validate_submission_schema,
)
from tinytorch.perf.compression import magnitude_prune
from tinytorch.perf.quantization import quantize_model


@pytest.fixture(scope="module")
def reports() -> tuple[BenchmarkReport, BenchmarkReport]:
    np.random.seed(0)
    model = SimpleMLP()
    x = np.random.default_rng(0).standard_normal((50, 10)).astype(np.float32)
    y = model(Tensor(x)).data.argmax(axis=1)
    baseline, optimized = BenchmarkReport("base"), BenchmarkReport("small")
    baseline.benchmark_model(model, Tensor(x), y, num_runs=20)
    small = quantize_model(copy.deepcopy(model))
    optimized.benchmark_model(small, x, Tensor(y, dtype=np.int64), num_runs=20)
    return baseline, optimized


def test_the_mlp_is_what_it_says() -> None:
    model = SimpleMLP(7, 5, 2)
    assert model.count_parameters() == 7 * 5 + 5 + 5 * 2 + 2
    assert len(model.parameters()) == 4
    assert model(Tensor(np.ones((3, 7)))).shape == (3, 2)
    magnitude_prune(model, 0.5)


def test_metrics_are_measured(reports: tuple[BenchmarkReport, BenchmarkReport]) -> None:
    found = reports[0].metrics
    assert found["accuracy"] == 1
    assert found["parameter_count"] == 283
    assert found["model_size_mb"] == 283 * 4 / 2**20
    assert 0 < found["latency_ms_p50"] <= found["latency_ms_p99"]
    assert found["throughput_samples_per_sec"] > 0
    assert reports[1].metrics["model_size_mb"] != found["model_size_mb"]
    with pytest.raises(ShapeError, match="as many samples"):
        BenchmarkReport().benchmark_model(SimpleMLP(), np.ones((3, 10)), np.zeros(2))


def test_a_submission_is_whole(
    reports: tuple[BenchmarkReport, BenchmarkReport], tmp_path: Path
) -> None:
    submission = generate_submission(*reports, student_name="Ada", techniques_applied=["int8"])
    assert validate_submission_schema(submission) is True
    before, after = (r.metrics for r in reports)
    gains = submission["improvements"]
    assert gains["speedup"] == before["latency_ms_mean"] / after["latency_ms_mean"]
    assert gains["compression_ratio"] == before["model_size_mb"] / after["model_size_mb"]
    assert gains["accuracy_delta"] == after["accuracy"] - before["accuracy"]
    assert submission["optimized"]["techniques_applied"] == ["int8"]
    path = save_submission(submission, tmp_path / "mine.json")
    assert json.loads(Path(path).read_text()) == submission
    alone = generate_submission(reports[0])
    assert validate_submission_schema(alone)
    assert "optimized" not in alone
    assert "student_name" not in alone


def test_what_was_not_measured_is_no_submission(
    reports: tuple[BenchmarkReport, BenchmarkReport],
) -> None:
    with pytest.raises(MeasurementError, match="benchmark_model"):
        generate_submission(BenchmarkReport())
    elsewhere = copy.deepcopy(reports[1])
    elsewhere.system_info["machine"] = "another"
    with pytest.raises(MeasurementError, match="another"):
        generate_submission(reports[0], elsewhere)


def without(key: str) -> Any:
    return lambda s: s.pop(key)


def put(value: Any, *path: str) -> Any:
    def change(submission: dict[str, Any]) -> None:
        for key in path[:-1]:
            submission = submission[key]
        submission[path[-1]] = value

    return change


@pytest.mark.parametrize(
    "spoil",
    [
        without("baseline"),
        without("system_info"),
        without("improvements"),
        put(3, "timestamp"),
        put(1.2, "baseline", "metrics", "accuracy"),
        put(-1, "baseline", "metrics", "latency_ms_mean"),
        put("fast", "optimized", "metrics", "latency_ms_mean"),
        put(float("nan"), "improvements", "speedup"),
        put(None, "optimized", "model_name"),
        put({}, "optimized", "metrics"),
    ],
)
def test_a_spoiled_submission_is_refused(
    reports: tuple[BenchmarkReport, BenchmarkReport], spoil: Any
) -> None:
    submission = generate_submission(*reports)
    spoil(submission)
    with pytest.raises(InvalidValue):
        validate_submission_schema(submission)
    with pytest.raises(InvalidValue):
        validate_submission_schema("a submission")


def test_events_have_conditions() -> None:
    metrics = {"accuracy": 0.83, "latency_ms_mean": 5.0, "model_size_mb": 1.0}
    assert qualifies_event(metrics, OlympicEvent.EXTREME_PUSH)
    assert not qualifies_event(metrics, "latency_sprint")
    assert qualifies_event({**metrics, "accuracy": 0.9}, "all_around")
    assert not qualifies_event({**metrics, "latency_ms_mean": 200}, OlympicEvent.ACCURACY_CONTEST)
    with pytest.raises(InvalidValue, match="accuracy"):
        qualifies_event({}, OlympicEvent.LATENCY_SPRINT)
    with pytest.raises(UnknownName, match="latency_sprint"):
        qualifies_event(metrics, "sprint")


def test_the_capstone_is_another_name() -> None:
    assert tinytorch.capstone.SimpleMLP is tinytorch.olympics.SimpleMLP
