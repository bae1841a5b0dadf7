"""Profiler: parameters, FLOPs, memory and latency of a model, against this machine's ceilings."""

from __future__ import annotations

import statistics
import time
from types import TracebackType
from typing import Any

from tinytorch.core.tensor import Tensor
from tinytorch.measure import ceilings as measured
from tinytorch.measure.roofline import Placement, Roof
from tinytorch.measure.roofs import roof_for
from tinytorch.measure.units import figures
from tinytorch.perf import models
from tinytorch.perf.models import MIB
from tinytorch.perf.profiling import backward, flops
from tinytorch.perf.profiling.memory import traced_memory
from tinytorch.perf.profiling.timer import checked_count, time_calls

# Below this share of the least time that the roof allows, neither arithmetic nor memory is what
# takes the time.
_OVERHEAD_BELOW = 0.1


class Profiler:
    """Measures models. As a context manager, it measures the block: `elapsed`, in seconds."""

    def __init__(self) -> None:
        """Start without measurements."""
        self.measurements: dict[str, Any] = {}
        self.elapsed = 0.0
        self._start = 0.0

    def __enter__(self) -> Profiler:
        self._start = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.elapsed = time.perf_counter() - self._start

    def count_parameters(self, model: Any) -> int:
        """Return how many numbers the model's parameters are; 0 where it has none."""
        return models.parameter_count(model)

    def count_flops(self, model: Any, input_shape: Any) -> int:
        """Return the FLOPs of one sample, a multiply-add as two, from the specs of the ops it runs.

        `input_shape` has the batch first, and its size does not matter. The model is run once on
        one sample; what it computes outside ops (by its own NumPy) is not counted.
        """
        return flops.sample_flops(model, input_shape)

    def measure_memory(self, model: Any, input_shape: Any) -> dict[str, float]:
        """Run the model once and return megabytes (2**20 bytes).

        parameter_memory_mb: the parameters as they are stored; activation_memory_mb: what the pass
        keeps beside them: input, output, and what is saved for a backward pass;
        peak_memory_mb: parameters, input and the most that was alive at once;
        memory_efficiency: (parameters + activations) / peak, at most 1.
        """
        x = models.input_for(model, input_shape)
        models.run(model, x)  # what is compiled or packed once is not the pass's own
        with traced_memory() as found:
            kept = models.run(model, x)
        del kept
        parameters, given = models.parameter_bytes(model), x.data.nbytes
        activations = given + max(0, found.after - found.before)
        peak = max(parameters + given + found.peak - found.before, parameters + activations)
        return {
            "parameter_memory_mb": parameters / MIB,
            "activation_memory_mb": activations / MIB,
            "peak_memory_mb": peak / MIB,
            "memory_efficiency": (parameters + activations) / peak if peak else 1.0,
        }

    def measure_latency(self, model: Any, x: Any, warmup: int = 10, iterations: int = 100) -> float:
        """Return the median milliseconds of a forward pass; iterations must be at least 1."""
        checked_count(iterations, "iterations", 1)
        checked_count(warmup, "warmup", 0)
        return 1e3 * statistics.median(time_calls(lambda: models.run(model, x), warmup, iterations))

    def profile_layer(self, layer: Any, input_shape: Any) -> dict[str, Any]:
        """Return layer_name, parameters, flops (a sample), latency_ms (of the shape), the rate and
        the keys of `measure_memory`."""
        x = models.input_for(layer, input_shape)
        latency = self.measure_latency(layer, x, warmup=3, iterations=20)
        done = flops.trace(layer, x).totals().flops
        return {
            "layer_name": type(layer).__name__,
            "parameters": self.count_parameters(layer),
            "flops": self.count_flops(layer, input_shape),
            "batch_flops": done,
            "latency_ms": latency,
            "gflops_per_second": done / latency / 1e6,
            **self.measure_memory(layer, input_shape),
        }

    def profile_forward_pass(self, model: Any, x: Any) -> dict[str, Any]:
        """Measure a forward pass on `x` and hold it against this machine's measured ceilings.

        parameters; flops (one sample), batch_flops (all of x); bytes_moved, the compulsory traffic
        of its ops; latency_ms (median); gflops_per_second; memory_bandwidth_mbs, bytes_moved a
        second in 1e6 bytes; arithmetic_intensity and ridge_point, FLOP/byte;
        peak_gflops_per_second, memory_ceiling_mbs and memory_level, the ceilings used;
        computational_efficiency, the share of the peak; roofline_fraction, the share of what the
        roof allows; is_memory_bound, is_compute_bound and bottleneck ("memory" or "compute"):
        which ceiling stands above it; is_overhead_bound: under a tenth of the roof, so that what
        takes the time is neither; and the keys of `measure_memory`.
        """
        given = x if isinstance(x, Tensor) else Tensor(x)
        done = flops.trace(model, given).totals()
        latency = self.measure_latency(model, given, warmup=3, iterations=30)
        found = {
            "parameters": self.count_parameters(model),
            "flops": self.count_flops(model, given.shape or (1,)),
            "batch_flops": done.flops,
            "bytes_moved": done.bytes_moved,
            "latency_ms": latency,
            **self.measure_memory(model, given.shape or (1,)),
            **_against_the_roof(model, given, done.flops, done.bytes_moved, latency / 1e3),
        }
        self.measurements = found
        return found

    def profile_backward_pass(self, model: Any, x: Any, loss_fn: Any = None) -> dict[str, Any]:
        """Measure forward and backward, each by itself; see `backward.profile_backward`."""
        found = backward.profile_backward(model, x, loss_fn)
        self.measurements = found
        return found


def _roof(dtype: str, bytes_moved: int) -> Roof:
    known = dtype if dtype in measured.DTYPES else measured.DTYPES[0]
    roof = roof_for(measured.ceilings(), known, bytes_moved)
    assert roof is not None
    return roof


def _against_the_roof(
    model: Any, x: Tensor, done: int, bytes_moved: int, seconds: float
) -> dict[str, Any]:
    # A model that dispatches nothing still has to read its input and its parameters.
    moved = bytes_moved or x.data.nbytes + models.parameter_bytes(model)
    roof = _roof(x.data.dtype.name, moved)
    placed = Placement(done, moved, seconds, roof)
    return {
        "gflops_per_second": placed.flops_per_s / 1e9,
        "memory_bandwidth_mbs": placed.bytes_per_s / 1e6,
        "arithmetic_intensity": placed.intensity,
        "ridge_point": roof.ridge,
        "peak_gflops_per_second": roof.peak_flops_per_s / 1e9,
        "memory_ceiling_mbs": roof.bytes_per_s / 1e6,
        "memory_level": roof.level,
        "computational_efficiency": placed.flops_per_s / roof.peak_flops_per_s,
        "roofline_fraction": placed.fraction,
        "is_memory_bound": placed.bound == "memory",
        "is_compute_bound": placed.bound == "compute",
        "bottleneck": placed.bound,
        "is_overhead_bound": placed.fraction < _OVERHEAD_BELOW,
    }


def quick_profile(model: Any, x: Any, profiler: Profiler | None = None) -> dict[str, Any]:
    """Profile a forward pass, print it in four lines, and return it."""
    found = (profiler or Profiler()).profile_forward_pass(model, x)
    print(f"{type(model).__name__}: {found['parameters']:,} parameters")
    print(
        f"  {found['flops']:,} FLOP a sample, {figures(found['latency_ms'])} ms a pass, "
        f"{figures(found['gflops_per_second'])} GFLOP/s"
    )
    print(f"  {figures(found['peak_memory_mb'])} MB at the peak")
    bound = f"bound by {found['bottleneck']}, {found['roofline_fraction']:.1%} of its roof"
    print(f"  {bound}{': overhead takes the time' if found['is_overhead_bound'] else ''}")
    return found
