"""Profiling: what is counted equals what can be worked out by hand; what is timed was run."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import pytest

from tinytorch import ops
from tinytorch.backends import get_backend, use_backend
from tinytorch.backends.base import ComputeBackend
from tinytorch.backends.recording import recording
from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, MeasurementError, ShapeError
from tinytorch.measure import ceilings as measured
from tinytorch.measure.ceilings import Ceilings, Figure, LevelCeiling
from tinytorch.measure.charts import frontier
from tinytorch.measure.stats import mean_interval
from tinytorch.perf.models import MIB, named_layers, replace_layer
from tinytorch.perf.profiling import (
    FLOPCounter,
    MemoryProfiler,
    Profiler,
    ProfilerContext,
    SimpleProfiler,
    Timer,
    analyze_weight_distribution,
    quick_profile,
)

K, N = 64, 32


class Product:
    """x @ weight + bias, from ops of their own."""

    def __init__(self, inputs: int = K, outputs: int = N) -> None:
        rng = np.random.default_rng(0)
        weight = rng.standard_normal((inputs, outputs), np.float32)
        self.weight = Tensor(weight, requires_grad=True)
        self.bias = Tensor(np.zeros(outputs), requires_grad=True)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias

    def parameters(self) -> list[Tensor]:
        return [self.weight, self.bias]


class Chain:
    def __init__(self, *layers: Any) -> None:
        self.layers = list(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer.forward(x)
        return x.relu()

    def parameters(self) -> list[Tensor]:
        return [p for layer in self.layers for p in layer.parameters()]


class Linear:
    """A description: a weight and no forward."""

    def __init__(self) -> None:
        self.weight = Tensor(np.zeros((K, N)))


@pytest.fixture
def known_ceilings(monkeypatch: pytest.MonkeyPatch) -> Ceilings:
    def figure(value: float) -> Figure:
        return Figure(value, value, value, 9)

    names = ("read", "copy", "triad")
    rates: dict[str, Any] = {f"{n}_gb_per_s{s}": figure(10.0) for n in names for s in ("", "_all")}
    level = LevelCeiling("DRAM", None, None, 1, 1, latency_ns=figure(100.0), **rates)
    peaks = {d: {1: figure(100.0), 2: figure(200.0)} for d in ("float32", "float64")}
    known = Ceilings("here", "by hand", 2, peaks, (level,), (), False, 0.0, "now")
    monkeypatch.setattr(measured, "ceilings", lambda *a, **k: known)
    return known


# ------------------------------------------------------------------------------- recording


def test_a_recorder_sees_op_shapes_kernel_and_time() -> None:
    a, b = np.ones((3, 4), np.float32), np.ones((4, 5), np.float32)
    with use_backend("numpy") as backend, recording() as recorder:
        backend.dispatch("matmul", a, b)
        backend.dispatch("gelu", a, approximate="none")
    product, gelu = recorder.calls
    assert (product.op, product.shapes, product.kernel) == ("matmul", ((3, 4), (4, 5)), "library")
    assert (product.backend, product.dtype) == ("numpy", "float32")
    assert 0 < product.seconds < 1
    assert product.start < gelu.start
    assert gelu.params == {"approximate": "none"}
    assert product.cost == ops.get("matmul").cost(((3, 4), (4, 5)), "float32")


def test_dispatch_is_untouched_outside_the_block() -> None:
    before = ComputeBackend.dispatch
    with recording() as outer:
        assert ComputeBackend.dispatch is not before
        with recording() as inner:
            get_backend().dispatch("relu", np.ones(3, np.float32))
        get_backend().dispatch("relu", np.ones(3, np.float32))
    assert ComputeBackend.dispatch is before
    assert (len(outer), len(inner)) == (2, 1)


def test_a_failed_dispatch_is_not_recorded_and_restores() -> None:
    before = ComputeBackend.dispatch
    with pytest.raises(ShapeError), recording() as recorder:
        get_backend().dispatch("matmul", np.ones((2, 3)), np.ones((2, 3)))
    assert ComputeBackend.dispatch is before
    assert len(recorder) == 0
    with recording() as recorder:
        get_backend().dispatch("relu", [1.0, -1.0])
    assert recorder.calls[0].shapes == ((2,),)


def test_threads_are_recorded_under_their_own_numbers() -> None:
    x = np.ones(5, np.float32)
    with recording() as recorder:
        worker = threading.Thread(target=lambda: get_backend().dispatch("relu", x))
        worker.start()
        worker.join()
        get_backend().dispatch("relu", x)
    assert len({call.thread for call in recorder.calls}) == 2


def test_recording_costs_microseconds_a_call() -> None:
    x = np.ones(8, np.float32)
    backend = get_backend()

    def seconds() -> float:
        start = time.perf_counter()
        for _ in range(300):
            backend.dispatch("relu", x)
        return (time.perf_counter() - start) / 300

    seconds()
    plain = min(seconds() for _ in range(9))
    with recording():
        watched = min(seconds() for _ in range(9))
    assert watched - plain < 20e-6


# ------------------------------------------------------------------------------ timer, memory


def test_a_timer_times_each_call() -> None:
    timer = Timer()
    found = timer.measure(time.sleep, warmup=1, runs=7, args=(0.002,))
    assert found["runs"] == 7 == len(timer.measurements)
    assert 2 <= found["min_ms"] <= found["p50_ms"] <= found["p95_ms"] <= found["p99_ms"]
    assert found["p99_ms"] <= found["max_ms"] < 500
    assert found["p50_ms"] == np.percentile(timer.measurements, 50)
    assert found["std_ms"] == pytest.approx(np.std(timer.measurements))


def test_a_timer_runs_what_it_says() -> None:
    calls: list[Any] = []
    Timer().measure(lambda *a, **k: calls.append((a, k)), 2, 5, (1,), {"b": 2})
    assert calls == [((1,), {"b": 2})] * 7


@pytest.mark.parametrize(("warmup", "runs"), [(0, 0), (-1, 3), (0, 2.5), (0, True)])
def test_a_timer_refuses_counts_that_are_none(warmup: Any, runs: Any) -> None:
    with pytest.raises(InvalidValue, match="must be an int"):
        Timer().measure(lambda: None, warmup, runs)


def test_memory_sees_what_a_call_allocates() -> None:
    def work(n: int, keep: bool = False) -> Any:
        large = np.ones(n, np.float64)
        return large if keep else large.sum()

    freed = MemoryProfiler().profile(work, (MIB,))
    assert 8 <= freed["allocated_mb"] < 8.2
    assert freed["final_mb"] - freed["baseline_mb"] < 0.1
    assert freed["result"] == MIB
    kept = MemoryProfiler().profile(work, (MIB,), {"keep": True})
    assert 8 <= kept["final_mb"] - kept["baseline_mb"] < 8.2
    assert kept["peak_mb"] >= kept["final_mb"]


# ---------------------------------------------------------------------------------- profiler


def test_parameters_are_counted_once() -> None:
    layer = Product()
    assert Profiler().count_parameters(layer) == K * N + N
    assert Profiler().count_parameters(Chain(layer, layer)) == K * N + N
    assert Profiler().count_parameters(Linear()) == K * N
    assert Profiler().count_parameters(Tensor(np.ones((3, 3)))) == 0


def test_flops_are_those_of_the_specs_and_a_sample() -> None:
    profiler = Profiler()
    one = 2 * K * N + N
    assert profiler.count_flops(Product(), (1, K)) == one
    assert profiler.count_flops(Product(), (32, K)) == one
    assert profiler.count_flops(Linear(), (32, K)) == 2 * K * N
    model = Chain(Product(K, N), Product(N, 8))
    assert profiler.count_flops(model, (4, K)) == one + (2 * N * 8 + 8) + 8


def test_flops_do_not_depend_on_the_backend() -> None:
    counts = set()
    for name in ("numpy", "native", "naive"):
        with use_backend(name):
            counts.add(Profiler().count_flops(Product(), (1, K)))
    assert len(counts) == 1


def test_what_neither_runs_nor_has_a_weight_is_refused() -> None:
    with pytest.raises(InvalidValue, match="weight"):
        Profiler().count_flops(object(), (1, 3))
    with pytest.raises(ShapeError):
        Profiler().count_flops(Product(), (1, K + 1))
    with pytest.raises(ShapeError):
        Profiler().count_flops(Product(), (0, K))


def test_memory_of_a_pass_holds_what_is_known_of_it() -> None:
    layer, batch = Product(512, 1024), 2048
    found = Profiler().measure_memory(layer, (batch, 512))
    parameters = (512 * 1024 + 1024) * 4 / MIB
    given, output = batch * 512 * 4 / MIB, batch * 1024 * 4 / MIB
    assert found["parameter_memory_mb"] == pytest.approx(parameters)
    # The sum is kept as the output; the product may be freed.
    assert given + output <= found["activation_memory_mb"] < given + 2 * output + 0.1
    assert found["peak_memory_mb"] >= parameters + given + output
    assert 0 < found["memory_efficiency"] <= 1


def test_latency_is_the_median_of_real_calls() -> None:
    class Sleeper:
        calls = 0

        def forward(self, x: Any) -> Any:
            self.calls += 1
            time.sleep(0.002)
            return x

    model = Sleeper()
    assert 2 <= Profiler().measure_latency(model, Tensor([1.0]), warmup=2, iterations=5) < 100
    assert model.calls == 7
    with pytest.raises(InvalidValue, match="iterations"):
        Profiler().measure_latency(model, Tensor([1.0]), iterations=0)


def test_a_forward_pass_is_held_against_the_ceilings(known_ceilings: Ceilings) -> None:
    found = Profiler().profile_forward_pass(Product(), Tensor(np.ones((8, K))))
    seconds = found["latency_ms"] / 1e3
    assert found["batch_flops"] == 8 * found["flops"] == 8 * (2 * K * N + N)
    moved = 4 * (8 * K + K * N + 8 * N) + 4 * (8 * N + N + 8 * N)
    assert found["bytes_moved"] == moved
    assert found["gflops_per_second"] == pytest.approx(found["batch_flops"] / seconds / 1e9)
    assert found["memory_bandwidth_mbs"] == pytest.approx(moved / seconds / 1e6)
    assert found["computational_efficiency"] == pytest.approx(found["gflops_per_second"] / 200)
    assert found["ridge_point"] == pytest.approx(200 / 10)
    assert found["is_memory_bound"] is True is not found["is_compute_bound"]
    assert found["bottleneck"] == "memory"
    least = max(found["batch_flops"] / 200e9, moved / 10e9)
    assert found["roofline_fraction"] == pytest.approx(least / seconds)


def test_quick_profile_prints_and_returns(
    known_ceilings: Ceilings, capsys: pytest.CaptureFixture[str]
) -> None:
    found = quick_profile(Product(), np.ones((8, K)))
    told = capsys.readouterr().out
    assert f"{found['flops']:,} FLOP" in told
    assert "bound by memory" in told


def test_profile_layer_gives_every_part() -> None:
    found = Profiler().profile_layer(Product(), (8, K))
    assert found["layer_name"] == "Product"
    assert found["batch_flops"] == 8 * found["flops"]
    assert {"parameters", "latency_ms", "gflops_per_second", "peak_memory_mb"} <= set(found)


def test_backward_is_measured_and_leaves_no_gradients() -> None:
    layer = Product()
    found = Profiler().profile_backward_pass(layer, Tensor(np.ones((8, K))))
    # Of the input no gradient is wanted, so that backward has one product: 2 B K N.
    assert found["forward_flops"] >= 8 * (2 * K * N + N)
    assert found["backward_flops"] >= 8 * 2 * K * N
    assert found["total_flops"] == found["forward_flops"] + found["backward_flops"]
    assert found["gradient_memory_mb"] == pytest.approx((K * N + N) * 4 / MIB)
    assert found["backward_latency_ms"] > 0
    assert found["optimizer_memory_estimates"]["adam"] == pytest.approx(2 * (K * N + N) * 4 / MIB)
    assert layer.weight.grad is None


def test_backward_with_a_loss_of_one_and_of_two_arguments() -> None:
    def squared(output: Tensor, target: Tensor) -> Tensor:
        return ((output - target) ** 2).mean()

    x = Tensor(np.ones((8, K)))
    for loss in (squared, lambda output: output.sum()):
        assert Profiler().profile_backward_pass(Product(), x, loss)["backward_flops"] > 0
    with pytest.raises(InvalidValue, match="one number"):
        Profiler().profile_backward_pass(Product(), x, lambda output: output)


def test_backward_without_anything_to_learn_is_refused() -> None:
    class Plain:
        def forward(self, x: Tensor) -> Tensor:
            return x.relu()

    with pytest.raises(MeasurementError, match="requires gradients"):
        Profiler().profile_backward_pass(Plain(), Tensor([1.0]))


def test_a_profiler_times_its_block() -> None:
    with Profiler() as profiler:
        time.sleep(0.01)
    assert 0.01 <= profiler.elapsed < 1


# -------------------------------------------------------------------------------- the others


def test_flop_counter_works_out_each_kind() -> None:
    counter = FLOPCounter()
    assert counter.count_linear(K, N, 4) == 4 * (2 * K * N + N)
    assert counter.operation_counts["multiply"] == 4 * K * N
    assert counter.count_conv2d(8, 9, 3, 16, 3, 2) == 2 * 6 * 7 * 16 * (2 * 27 + 1)
    T, d = 10, 64
    softmax = ops.get("softmax").flops(((2, T, T),))
    expected = 2 * (8 * T * d * d + 4 * T * d + 4 * T * T * d) + softmax
    assert counter.count_attention(T, d, 2) == expected
    counts = counter.operation_counts
    assert counts["multiply"] + counts["add"] == counts["total_flops"]
    with pytest.raises(ShapeError, match="does not fit"):
        counter.count_conv2d(2, 2, 1, 1, 3)


def test_flop_counter_breaks_a_model_down() -> None:
    model, counter = Chain(Product(K, N), Product(N, 8)), FLOPCounter()
    total = counter.count_model_forward(model, (4, K))
    assert counter.layer_breakdown == {
        "layers.0": 4 * (2 * K * N + N),
        "layers.1": 4 * (2 * N * 8 + 8),
        "(between layers)": 4 * 8,
    }
    assert total == sum(counter.layer_breakdown.values()) == counter.operation_counts["total_flops"]
    assert next(iter(counter.get_breakdown())) == "layers.0"
    assert "forward" not in vars(model.layers[0])


def test_a_context_measures_the_functions_run_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    a = Tensor(np.ones((K, N)))
    with ProfilerContext("product", timing_runs=3, enable_flops=True) as context:
        product = context.profile_function(lambda x: x.T @ x, (a,))
    assert product.shape == (N, N)
    assert context.results["flops"] == 2 * N * K * N
    assert context.results["timing"]["runs"] == 3
    assert context.results["memory"]["allocated_mb"] >= N * N * 4 / MIB
    assert "product" in capsys.readouterr().out


@pytest.mark.parametrize("warmup", [True, False])
def test_simple_profiler_is_a_mapping_and_unpacks(warmup: bool) -> None:
    def work() -> int:
        return int(np.ones(MIB, np.float64).sum())

    found = SimpleProfiler().profile(work, name="sum", warmup=warmup)
    result, metrics = found
    assert result == found["result"] == MIB
    assert metrics["wall_time"] == found["wall_time"] > 0
    assert found["name"] == "sum"
    assert 8 <= found["peak_memory_mb"] < 8.5
    delta = found["memory_after_mb"] - found["memory_before_mb"]
    assert found["memory_delta_mb"] == pytest.approx(delta)
    assert found["cpu_efficiency"] == pytest.approx(found["cpu_time"] / found["wall_time"])
    assert dict(found.items()) == metrics


def test_simple_profiler_leaves_out_what_is_not_tracked() -> None:
    found = SimpleProfiler(track_memory=False, track_cpu=False).profile(sum, [1, 2])
    assert set(found.keys()) == {"name", "wall_time", "result"}
    with pytest.raises(ZeroDivisionError):
        SimpleProfiler().profile(lambda: 1 // 0)


def test_weights_are_described() -> None:
    layer = Linear()
    values = np.linspace(-1, 1, K * N)
    layer.weight = Tensor(values.reshape(K, N))
    found = analyze_weight_distribution(layer, percentiles=(0, 50, 100))
    assert found["percentiles"][100] == pytest.approx(1)
    assert found["percentiles"][50] == pytest.approx(0.5, abs=1e-3)
    assert found["below_0.1"] == pytest.approx(10, abs=0.1)
    assert found["mean"] == pytest.approx(0, abs=1e-6)
    with pytest.raises(InvalidValue, match="no parameters"):
        analyze_weight_distribution(object())
    with pytest.raises(InvalidValue, match="percentile"):
        analyze_weight_distribution(layer, percentiles=(101,))


def test_layers_are_named_and_replaced_by_path() -> None:
    first, second = Product(), Product(N, 8)
    model = Chain(first, Chain(second))
    assert dict(named_layers(model)) == {"layers.0": first, "layers.1.layers.0": second}
    replace_layer(model, "layers.1.layers.0", first)
    assert model.layers[1].layers[0] is first


def test_the_means_interval_is_students() -> None:
    low, high = mean_interval([1.0, 2.0, 3.0, 4.0])
    reach = 3.182446 * np.std([1, 2, 3, 4], ddof=1) / 2  # t of 3 degrees, from tables
    assert (low, high) == pytest.approx((2.5 - reach, 2.5 + reach), rel=1e-6)
    assert mean_interval([7.0]) == (7.0, 7.0)
    with pytest.raises(InvalidValue):
        mean_interval([])


def test_a_frontier_chart_joins_the_best() -> None:
    spec = frontier([("a", 1.0, 0.9, True), ("b", 2.0, 0.8, False)], "ms", "accuracy")
    assert len(spec["layer"]) == 3
