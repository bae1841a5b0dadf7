"""Benchmarking: real queries, seeded arrivals, nothing invented."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinytorch.bench
from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, MeasurementError, ShapeError, UnknownName
from tinytorch.perf import benchmarking
from tinytorch.perf.acceleration import vectorized_matmul
from tinytorch.perf.benchmarking import (
    Benchmark,
    BenchmarkResult,
    BenchmarkSuite,
    MLPerf,
    TinyMLPerf,
    analyze_optimization_techniques,
    benchmark,
    precise_timer,
    scenarios,
)
from tinytorch.perf.benchmarking.data import accuracy_of, batches


class Model:
    """Scores of three classes from ten features; waits first."""

    def __init__(self, name: str = "model", milliseconds: float = 0.0, flip: bool = False) -> None:
        self.name, self.milliseconds, self.flip = name, milliseconds, flip
        self.weight = Tensor(np.random.default_rng(0).standard_normal((10, 3)))
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        time.sleep(self.milliseconds / 1e3)
        scores = x @ self.weight
        return -scores if self.flip else scores

    def parameters(self) -> list[Tensor]:
        return [self.weight]


@pytest.fixture
def dataset() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(1).standard_normal((40, 10)).astype(np.float32)
    return x, Model().forward(Tensor(x)).data.argmax(axis=1)


# ------------------------------------------------------------------------------------ results


def test_a_result_summarises_its_values() -> None:
    result = BenchmarkResult("latency", [3.0, 1.0, 2.0], {"unit": "ms"})
    assert (result.mean, result.median, result.min, result.max, result.count) == (2, 2, 1, 3, 3)
    assert (result.min_val, result.max_val) == (1, 3)
    assert result.std == pytest.approx(1)
    reach = 4.302653 / 3**0.5  # Student's t of two degrees, from tables
    assert (result.ci_lower, result.ci_upper) == pytest.approx((2 - reach, 2 + reach))
    assert "ms" in str(result)
    data = json.loads(json.dumps(result.to_dict()))
    assert data["values"] == [3, 1, 2]
    assert {"mean", "std", "median", "min", "max", "count", "ci_lower", "ci_upper"} <= set(data)


@pytest.mark.parametrize("values", [[], [float("nan")], [float("inf")], ["fast"], 3])
def test_a_result_without_finite_values_is_refused(values: Any) -> None:
    with pytest.raises(InvalidValue):
        BenchmarkResult("latency", values)


def test_machines_are_not_compared() -> None:
    here = BenchmarkResult("a", [2.0])
    assert here.ratio_to(BenchmarkResult("b", [1.0])) == 2
    with pytest.raises(MeasurementError, match="machine"):
        here.ratio_to(BenchmarkResult("b", [1.0], {"machine": "another"}))
    with pytest.raises(MeasurementError, match="ms"):
        here.ratio_to(BenchmarkResult("b", [1.0], {"unit": "ms"}))


def test_the_precise_timer_times_its_block() -> None:
    with precise_timer() as timer:
        time.sleep(0.01)
    assert 0.01 <= timer.elapsed < 1


# ---------------------------------------------------------------------------------- datasets


def test_datasets_of_every_kind_are_read(dataset: tuple[Any, Any]) -> None:
    x, y = dataset

    class Held:
        tensors = (Tensor(x), Tensor(y))

    kinds = [(x, y), {"inputs": x, "labels": y}, {"data": x, "targets": y}, Held()]
    kinds.append([(Tensor(x[:7]), Tensor(y[:7])), (x[7:], y[7:])])
    kinds.append((x, np.eye(3)[y]))
    for kind in kinds:
        assert accuracy_of(Model(), kind) == 1
    for nothing in ({"data": "test1"}, [1, 2], "name", None, x, {"data": x}):
        assert list(batches(nothing)) == []
        assert accuracy_of(Model(), nothing) is None
    with pytest.raises(ShapeError, match="as many"):
        accuracy_of(Model(), (x, y[:-1]))


# --------------------------------------------------------------------------------- benchmarks


def test_latency_is_measured_in_turns(dataset: Any) -> None:
    fast, slow = Model("fast"), Model("slow", 3)
    found = Benchmark([slow, fast], [dataset], warmup_runs=1, measurement_runs=6)
    results = found.run_latency_benchmark()
    assert list(results) == ["slow", "fast"]
    assert results["slow"].count == 6
    assert results["slow"].median >= 3 > results["fast"].median
    about = results["slow"].metadata
    assert about["input_shape"] == (1, 10)
    assert about["p50"] <= about["p90"] <= about["p99"]
    assert about["throughput_per_s"] == pytest.approx(1e3 / results["slow"].median)
    assert slow.calls == fast.calls == 8  # once to see that it fits, once to warm up
    assert found.run_latency_benchmark((4, 10))["fast"].metadata["input_shape"] == (4, 10)


def test_a_shape_that_does_not_fit_says_what_to_do() -> None:
    with pytest.raises(ShapeError, match="input_shape"):
        Benchmark([Model()]).run_latency_benchmark((1, 11))


def test_accuracy_is_counted_and_never_invented(dataset: Any) -> None:
    good, bad = Model("good"), Model("bad", flip=True)
    results = Benchmark([good, bad], [dataset, {"data": "test2"}]).run_accuracy_benchmark()
    assert results["good"].values == [1.0]
    assert results["bad"].mean < 0.5
    assert Benchmark([good], [{"data": "test1"}]).run_accuracy_benchmark() == {}


def test_models_are_compared_best_first(dataset: Any) -> None:
    found = Benchmark([Model("slow", 3), Model("fast")], [dataset])
    rows = found.compare_models()
    assert [row["model"] for row in rows] == ["fast", "slow"]
    assert rows[0]["speedup_over_first"] > 1 == rows[1]["speedup_over_first"]
    assert {row["metric"] for row in found.compare_models("memory")} == {"memory"}
    with pytest.raises(UnknownName, match="latency"):
        found.compare_models("latencyy")
    with pytest.raises(MeasurementError, match="labels"):
        Benchmark([Model()]).compare_models("accuracy")


def test_models_of_one_name_are_kept_apart() -> None:
    assert list(Benchmark([Model(), Model()]).named) == ["model", "model_1"]
    with pytest.raises(InvalidValue, match="at least one model"):
        Benchmark([])


# -------------------------------------------------------------------------------------- suite


def test_a_suite_measures_draws_and_writes(dataset: Any, tmp_path: Path) -> None:
    suite = BenchmarkSuite([Model("slow", 2), Model("bad", 0, True)], [dataset], tmp_path)
    results = suite.run_full_benchmark()
    assert set(results) == {"latency", "memory", "accuracy"}
    assert set(suite.plot_results()) == set(results)
    assert (tmp_path / "latency.png").stat().st_size > 1000
    assert suite.plot_pareto_frontier().exists()
    # The one is right, the other is fast: neither beats the other.
    assert [best for *_, best in suite.pareto("latency", "accuracy")] == [True, True]
    assert [best for *_, best in suite.pareto("latency", "latency")] == [False, True]
    report = suite.generate_report()
    assert (tmp_path / "benchmark_report.md").read_text() == report
    assert "| slow |" in report
    assert json.loads((tmp_path / "results.json").read_text())["latency"]["slow"]["count"] == 10


def test_a_suite_says_what_it_did_not_measure(tmp_path: Path) -> None:
    suite = BenchmarkSuite([Model()], [], tmp_path)
    suite.run_full_benchmark((1, 10))
    assert suite.results["accuracy"] == {}
    assert "Not measured" in suite.generate_report()
    with pytest.raises(MeasurementError, match="accuracy"):
        suite.plot_pareto_frontier()


# ---------------------------------------------------------------------------------- scenarios


def test_arrivals_are_a_seeded_poisson_process() -> None:
    times = scenarios.arrivals(4000, 100.0, seed=7)
    assert (times == scenarios.arrivals(4000, 100.0, seed=7)).all()
    assert (times != scenarios.arrivals(4000, 100.0, seed=8)).any()
    gaps = np.diff(times)
    # Exponential: mean and deviation are both 1 / rate; of 4000, within five errors of the mean.
    assert gaps.mean() == pytest.approx(0.01, rel=5 / 4000**0.5)
    assert gaps.std() == pytest.approx(0.01, rel=10 / 4000**0.5)
    with pytest.raises(InvalidValue):
        scenarios.arrivals(3, 0.0, 1)


def test_a_server_that_is_asked_too_fast_queues() -> None:
    def query(i: int) -> None:
        time.sleep(0.002)

    idle = scenarios.serve(query, 50.0, 20)
    crowded = scenarios.serve(query, 5000.0, 20)
    assert idle.percentile(50) < 10
    # Twenty queries of 2 ms that arrive together: the last waits for all the others.
    assert crowded.percentile(100) >= 20 * 2 * 0.8
    assert all(ms >= 2 for ms in idle.latencies_ms)


def test_the_server_scenario_finds_a_rate_within_the_bound() -> None:
    def query(i: int) -> None:
        time.sleep(0.001)

    found = scenarios.server(query, 50.0, count=20)
    assert 0 < found["queries_per_s"] < 1000
    assert found["p99_latency_ms"] <= 50
    too_slow = scenarios.server(query, 0.5, count=5)
    assert too_slow["queries_per_s"] == 0
    assert too_slow["tried"] == []


def test_offline_counts_samples() -> None:
    found = scenarios.offline(lambda: time.sleep(0.01), samples=50, repeats=3)
    assert 50 / 0.1 < found["throughput_per_s"] <= 50 / 0.01


# ------------------------------------------------------------------------------------- MLPerf


class Sums:
    """Takes any shape; scores of two classes."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.data.reshape(len(x), -1).sum(axis=1)
        return Tensor(np.stack([-flat, flat], axis=1))


def test_a_standard_benchmark_measures_and_marks(tmp_path: Path) -> None:
    runner = MLPerf(random_seed=1)
    result = runner.run_standard_benchmark(Sums(), "anomaly_detection", num_runs=12)
    assert result["accuracy"] is result["accuracy_met"] is result["compliant"] is None
    assert result["latency_met"] is True
    assert result["p50_latency_ms"] <= result["p90_latency_ms"] <= result["p99_latency_ms"]
    assert result["throughput_fps"] > 0 < result["offline_throughput_fps"]
    assert result["server_queries_per_s"] > 0
    assert result["inputs"] == "seeded noise"
    text = runner.generate_compliance_report({"anomaly_detection": result}, tmp_path / "r.json")
    assert "not decided" in text
    assert json.loads((tmp_path / "r.json").read_text())["seed"] == 1


def test_labels_make_accuracy(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((30, 640)).astype(np.float32)
    y = (x.sum(axis=1) > 0).astype(int)
    right = MLPerf().run_standard_benchmark(Sums(), "anomaly_detection", 5, x, y)
    wrong = MLPerf().run_standard_benchmark(Sums(), "anomaly_detection", 5, x, 1 - y)
    assert (right["accuracy"], right["compliant"]) == (1.0, True)
    assert (wrong["accuracy"], wrong["compliant"]) == (0.0, False)
    with pytest.raises(InvalidValue, match="test_inputs"):
        MLPerf().run_standard_benchmark(Sums(), "anomaly_detection", 5, labels=y)
    with pytest.raises(UnknownName, match="anomaly_detection"):
        MLPerf().run_standard_benchmark(Sums(), "anomaly")
    assert TinyMLPerf is MLPerf


def test_tasks_that_do_not_fit_are_marked(tmp_path: Path) -> None:
    class Narrow(Model):
        def __init__(self) -> None:
            super().__init__()
            self.weight = Tensor(np.ones((640, 2)))

    results = MLPerf().run_all_benchmarks(Narrow(), num_runs=3)
    assert "mean_latency_ms" in results["anomaly_detection"]
    assert "16000" in results["keyword_spotting"]["not_run"]
    assert "not run" in MLPerf().generate_compliance_report(results, tmp_path / "r.json")


# ------------------------------------------------------------------------------------- others


def test_techniques_are_held_against_the_base(dataset: Any) -> None:
    base, fast, bad = Model("base", 3), Model("fast"), Model("bad", 0, flip=True)
    found = analyze_optimization_techniques(base, [fast, bad], [dataset])
    assert found["base_model"] == "base"
    assert found["base_metrics"]["accuracy"] == 1
    assert found["improvements"]["fast"]["latency_speedup"] > 2
    assert found["improvements"]["fast"]["accuracy_change"] == 0
    assert "accuracy kept" in found["recommendations"]["fast"]
    assert "only where" in found["recommendations"]["bad"]
    unknown = analyze_optimization_techniques(base, [fast], [])
    assert "accuracy_change" not in unknown["improvements"]["fast"]
    assert "not measured" in unknown["recommendations"]["fast"]


def test_benchmark_times_a_function_of_matrices(capsys: pytest.CaptureFixture[str]) -> None:
    rows = benchmark(vectorized_matmul, sizes=[16, 32])
    assert rows[32]["flops"] == 2 * 32**3
    assert rows[32]["low_ms"] <= rows[32]["median_ms"] <= rows[32]["high_ms"]
    expected = rows[32]["flops"] / rows[32]["median_ms"] / 1e6
    assert rows[32]["gflops_per_s"] == pytest.approx(expected)
    assert "flops" not in benchmark(np.tanh, [8])[8]
    assert "32 x 32" in capsys.readouterr().out
    with pytest.raises(InvalidValue):
        benchmark(vectorized_matmul, [0])


def test_bench_is_another_name() -> None:
    assert tinytorch.bench.Benchmark is benchmarking.Benchmark
    assert set(tinytorch.bench.__all__) == set(benchmarking.__all__)
