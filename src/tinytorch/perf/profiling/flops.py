"""FLOPs of layers and models, from the op specs: a multiply-add counts as two.

A model that can be run is run once, on one sample, and what it dispatches is added up. A bare
description of a layer (a class called Linear or Conv2d that holds a weight and has no forward) is
counted by its weight's shape.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from tinytorch import ops
from tinytorch.backends.recording import Recorder, recording
from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.spec import Cost, Shape
from tinytorch.perf.models import (
    array_in,
    checked_shape,
    input_for,
    is_layer,
    named_layers,
    run,
)
from tinytorch.perf.profiling.timer import checked_count


def linear_flops(rows: int, inputs: int, outputs: int, bias: bool = True) -> int:
    """Return the FLOPs of `rows` rows through a linear layer: 2 K N each, and N for the bias."""
    if bias:
        return ops.get("linear").flops(((rows, inputs), (inputs, outputs), (outputs,)), "none")
    return ops.get("matmul").flops(((rows, inputs), (inputs, outputs)))


def trace(model: Any, x: Any) -> Recorder:
    """Run a model once and return the record of what it dispatched."""
    with recording() as recorder:
        run(model, x)
    return recorder


def sample_flops(model: Any, input_shape: Any) -> int:
    """Return the FLOPs of one sample; the first axis of `input_shape` is the batch, taken as 1."""
    shape = checked_shape(input_shape)
    if not is_layer(model) and not callable(model):
        return _described_flops(model, shape)
    return traced_sample(model, shape).totals().flops


def traced_sample(model: Any, shape: Shape) -> Recorder:
    """Trace one sample; a shape without a batch axis gets one where the model needs it."""
    single = (1, *shape[1:]) if len(shape) > 1 else shape
    try:
        return trace(model, input_for(model, single))
    except ShapeError as error:
        try:
            return trace(model, input_for(model, (1, *shape)))
        except ShapeError:
            raise error from None


def _described_flops(layer: Any, shape: Shape) -> int:
    weight = getattr(layer, "weight", None)
    kind = type(layer).__name__
    if weight is None or isinstance(layer, Tensor):
        raise InvalidValue(
            f"FLOPs are counted of what can be run or holds a weight; a {kind} does neither"
        )
    sizes = array_in(weight).shape
    bias = getattr(layer, "bias", None) is not None
    if len(sizes) == 2:
        rows = math.prod(shape[1:-1])
        return linear_flops(rows, *sizes, bias=bias)
    raise InvalidValue(f"a {kind} with a weight of shape {sizes} and no forward has no known cost")


@dataclass
class FLOPCounter:
    """Counts the FLOPs of described layers and adds them up.

    operation_counts: {"multiply", "add", "total_flops"}, multiply + add = total for what the
    count_... methods describe; layer_breakdown: FLOPs by layer, filled by count_model_forward.
    """

    operation_counts: dict[str, int] = field(default_factory=dict)
    layer_breakdown: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Set every count to 0."""
        self.operation_counts = {"multiply": 0, "add": 0, "total_flops": 0}
        self.layer_breakdown = {}

    def _add(self, multiplies: int, total: int) -> int:
        self.operation_counts["multiply"] += multiplies
        self.operation_counts["add"] += total - multiplies
        self.operation_counts["total_flops"] += total
        return total

    def count_linear(self, input_features: int, output_features: int, batch_size: int = 1) -> int:
        """Return the FLOPs of x @ W + b: 2 K N + N a row."""
        K, N, rows = _sizes(input_features, output_features, batch_size)
        return self._add(rows * K * N, linear_flops(rows, K, N))

    def count_conv2d(
        self,
        input_height: int,
        input_width: int,
        input_channels: int,
        output_channels: int,
        kernel_size: int | tuple[int, int],
        batch_size: int = 1,
    ) -> int:
        """Return the FLOPs of a convolution with bias, stride 1, no padding.

        2 C kh kw + 1 for each of its outputs; for other strides, `count_model_forward` of a Conv2d.
        """
        kh, kw = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        H, W, C, N, B, kh, kw = _sizes(
            input_height, input_width, input_channels, output_channels, batch_size, kh, kw
        )
        if kh > H or kw > W:
            raise ShapeError(f"a kernel of {kh} x {kw} does not fit an image of {H} x {W}")
        rows, patch = B * (H - kh + 1) * (W - kw + 1), C * kh * kw
        return self._add(rows * patch * N, linear_flops(rows, patch, N))

    def count_attention(self, sequence_length: int, d_model: int, batch_size: int = 1) -> int:
        """Return the FLOPs of self-attention: four projections, QK^T, softmax, and weights @ V.

        8 T d^2 + 4 T d for the projections, 4 T^2 d for both products, and the softmax op's own,
        of one head: each further head adds a softmax.
        """
        T, d, B = _sizes(sequence_length, d_model, batch_size)
        projections = 4 * linear_flops(B * T, d, d)
        products = B * (
            ops.get("matmul").flops(((T, d), (d, T))) + ops.get("matmul").flops(((T, T), (T, d)))
        )
        softmax = ops.get("softmax").flops(((B, T, T),))
        multiplies = 4 * B * T * d * d + 2 * B * T * T * d
        return self._add(multiplies, projections + products + softmax)

    def count_model_forward(self, model: Any, input_shape: Any) -> int:
        """Return the FLOPs of a forward pass on the whole input shape, by tracing it.

        layer_breakdown gets each layer's share by path; what is computed between layers stands
        under "(between layers)". The split into multiplies and adds is not known here.
        """
        x = input_for(model, input_shape)
        total = trace(model, x).totals().flops
        shares = _layer_costs(model, x)
        self.layer_breakdown = {name: cost.flops for name, cost in shares.items()}
        rest = total - sum(self.layer_breakdown.values())
        if rest:
            self.layer_breakdown["(between layers)"] = rest
        self.operation_counts["total_flops"] += total
        return total

    def get_breakdown(self) -> dict[str, int]:
        """Return layer_breakdown, the dearest layer first."""
        return dict(sorted(self.layer_breakdown.items(), key=lambda item: -item[1]))


def _sizes(*values: int) -> list[int]:
    return [checked_count(value, "each size", 1) for value in values]


def _layer_costs(model: Any, x: Any) -> dict[str, Cost]:
    """Run the model with each layer's forward watched, and return what each dispatched."""
    costs: dict[str, Cost] = {}
    watched: list[Any] = []

    def watch(path: str, layer: Any) -> None:
        forward = layer.forward

        def watching(*args: Any, **kwargs: Any) -> Any:
            with recording() as recorder:
                result = forward(*args, **kwargs)
            cost, sofar = recorder.totals(), costs.get(path, Cost(0, 0))
            costs[path] = Cost(sofar.flops + cost.flops, sofar.bytes_moved + cost.bytes_moved)
            return result

        layer.forward = watching
        watched.append(layer)

    for path, layer in named_layers(model):
        if is_layer(layer) and hasattr(layer, "__dict__"):
            watch(path or type(layer).__name__, layer)
    try:
        run(model, x)
    finally:
        for layer in watched:
            del layer.forward
    return costs
