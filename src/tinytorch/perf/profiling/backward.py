"""Forward and backward of a training step, each measured."""

from __future__ import annotations

import inspect
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch.backends.recording import recording
from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, MeasurementError
from tinytorch.perf import models
from tinytorch.perf.models import MIB
from tinytorch.perf.profiling.memory import traced_memory

_WARMUPS, _RUNS = 3, 20
# Numbers that an optimizer keeps for each parameter.
_OPTIMIZER_STATE = {"sgd": 0, "sgd_momentum": 1, "adam": 2, "adamw": 2}


def _loss_of(output: Any, loss_fn: Any) -> Any:
    """Return a scalar: the mean of the output, or what the loss makes of it.

    A loss that takes a target is given one: class 0 for cross-entropy, else zeros.
    """
    if loss_fn is None:
        return output.mean()
    if _wants_target(loss_fn):
        if "CrossEntropy" in type(loss_fn).__name__ and "Binary" not in type(loss_fn).__name__:
            target = Tensor(np.zeros(output.shape[:-1], np.int64), dtype=np.int64)
        else:
            target = Tensor(np.zeros(output.shape, output.dtype), dtype=output.dtype)
        return loss_fn(output, target)
    return loss_fn(output)


def _wants_target(loss_fn: Any) -> bool:
    function = loss_fn if inspect.isroutine(loss_fn) else getattr(loss_fn, "forward", loss_fn)
    needed = [
        p
        for p in inspect.signature(function).parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return len(needed) > 1


def _clear(tensors: list[Any]) -> None:
    for tensor in tensors:
        tensor.grad = None


def _step(model: Any, x: Tensor, loss_fn: Any) -> tuple[float, float]:
    """Return the seconds of forward (with the loss) and of backward."""
    start = time.perf_counter()
    loss = _loss_of(models.run(model, x), loss_fn)
    middle = time.perf_counter()
    loss.backward()
    return middle - start, time.perf_counter() - middle


def _flops(call: Callable[[], Any]) -> tuple[int, Any]:
    with recording() as recorder:
        result = call()
    return recorder.totals().flops, result


def profile_backward(model: Any, x: Any, loss_fn: Any = None) -> dict[str, Any]:
    """Run training steps on `x` and return what forward and backward took, both measured.

    `loss_fn(output)`, or `loss_fn(output, target)` with a target of zeros (of class 0 for
    cross-entropy), makes the scalar; without it the mean of the output does. Gradients are cleared
    before and after.

    forward_flops, backward_flops, total_flops (what was dispatched for all of x);
    forward_latency_ms, backward_latency_ms, total_latency_ms (medians); gradient_memory_mb (of the
    parameters); forward_memory_mb, the parameters and what forward keeps; peak_memory_mb of a
    step; total_memory_mb, parameters, gradients and what forward keeps;
    optimizer_memory_estimates: what each optimizer's state would take, by its formula;
    total_gflops_per_second; bottleneck, "forward" or "backward", whichever takes longer.

    Raises MeasurementError where nothing requires gradients.
    """
    given = x if isinstance(x, Tensor) else Tensor(x)
    parameters = [p for p in models.parameters_of(model) if getattr(p, "requires_grad", False)]
    if not parameters and not getattr(given, "requires_grad", False):
        raise MeasurementError(
            "there is no backward pass to measure: neither a parameter nor the input requires "
            "gradients"
        )
    clearing = [*parameters, given]
    _clear(clearing)
    done_forward, loss = _flops(lambda: _loss_of(models.run(model, given), loss_fn))
    if loss.size != 1:
        raise InvalidValue(f"loss_fn must return one number, got shape {loss.shape}")
    done_backward, _ = _flops(loss.backward)
    gradients = sum(np.asarray(p.grad).nbytes for p in parameters if p.grad is not None)
    _clear(clearing)
    times = []
    for i in range(_WARMUPS + _RUNS):
        taken = _step(model, given, loss_fn)
        _clear(clearing)
        times += [taken] if i >= _WARMUPS else []
    with traced_memory() as kept:
        loss = _loss_of(models.run(model, given), loss_fn)
    with traced_memory() as whole:
        del loss
        _loss_of(models.run(model, given), loss_fn).backward()
    _clear(clearing)
    forward, backward = (1e3 * statistics.median(column) for column in zip(*times, strict=True))
    held = models.parameter_bytes(model)
    activations = max(0, kept.after - kept.before)
    total_flops = done_forward + done_backward
    return {
        "forward_flops": done_forward,
        "backward_flops": done_backward,
        "total_flops": total_flops,
        "forward_latency_ms": forward,
        "backward_latency_ms": backward,
        "total_latency_ms": forward + backward,
        "forward_memory_mb": (held + activations) / MIB,
        "gradient_memory_mb": gradients / MIB,
        "total_memory_mb": (held + gradients + activations) / MIB,
        "peak_memory_mb": (held + max(0, whole.peak - whole.before)) / MIB,
        "optimizer_memory_estimates": {n: k * held / MIB for n, k in _OPTIMIZER_STATE.items()},
        "total_gflops_per_second": total_flops / (forward + backward) / 1e6,
        "bottleneck": "backward" if backward > forward else "forward",
    }
