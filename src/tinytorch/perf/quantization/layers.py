"""QuantizedLinear and QuantizedConv2d: int8 weights, int8 activations, sums in int32.

Weights are symmetric with a scale an output. Activations are dynamic, a scale a row found as it
comes, until `calibrate` has seen samples: then one fixed scale and zero point serve all rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.kernels import patches
from tinytorch.ops.spec import Array
from tinytorch.ops.windows import Geometry
from tinytorch.perf.quantization import product
from tinytorch.perf.quantization.calibration import Observer
from tinytorch.perf.quantization.product import Int8Weight


def _bias_of(layer: Any) -> Array | None:
    held = getattr(layer, "bias", None)
    return None if held is None else np.array(getattr(held, "data", held), np.float32)


class QuantizedLayer:
    """What both layers share: a weight of codes, a bias, and how activations are coded."""

    def __init__(self, weight: Array, bias: Array | None) -> None:
        self._weight = Int8Weight.of(weight)
        self._bias = bias
        self.span: tuple[float, float] | None = None
        self.input_scale: float | None = None
        self.input_zero_point: int | None = None

    def __call__(self, x: Any) -> Any:
        """Return forward(x)."""
        return self.forward(x)

    def forward(self, x: Any) -> Any:
        """Compute; the subclass says what."""
        raise NotImplementedError

    @property
    def bias(self) -> Tensor | None:
        """The bias, in float32: it is added to the sums."""
        return None if self._bias is None else Tensor(self._bias)

    @property
    def weight_scale(self) -> Array:
        """One scale an output, float32."""
        return self._weight.scale

    @property
    def q_weight(self) -> Tensor:
        """The codes of the weight, int8, (inputs, outputs)."""
        return Tensor(self._weight.codes(), dtype=np.int8)

    def _inputs_of(self, sample: Any) -> Array:
        return np.asarray(sample.data if isinstance(sample, Tensor) else sample)

    def calibrate(
        self, samples: Iterable[Any], method: str = "minmax", percentile: float = 99.9
    ) -> None:
        """Fix the scale and zero point of activations from sample inputs.

        method: "minmax", "percentile" or "mse" (see Observer). Raises MeasurementError without
        samples, ShapeError for samples that the layer does not take.
        """
        observer = Observer(method, percentile)
        if isinstance(samples, Tensor | np.ndarray):
            samples = [samples]
        for sample in samples:
            self._check(self._inputs_of(sample))
            observer.observe(self._inputs_of(sample))
        self.fix(observer)

    def fix(self, observer: Observer) -> None:
        """Let an observer's range set the codes of activations from now on.

        input_scale and input_zero_point are those of int8 codes; where the CPU multiplies 7-bit
        codes faster, the same range (`span`) is cut into 127 steps.
        """
        low, high = observer.range()
        # Nothing but zeros was seen: any range serves.
        self.span = (low, high) if high > low else (0.0, 1.0)
        self.input_scale, self.input_zero_point = observer.parameters()

    def _check(self, x: Array) -> None:
        raise NotImplementedError

    def _rows(self, rows: Array) -> Array:
        return product.multiply(rows, self._weight, self._bias, self.span)

    def parameters(self) -> list[Tensor]:
        """Return codes and bias, as Tensors that require no gradients."""
        return [self.q_weight, *([] if self._bias is None else [Tensor(self._bias)])]

    def memory_usage(self) -> dict[str, float]:
        """Return original_bytes (float32), quantized_bytes (as kept) and compression_ratio."""
        bias = 0 if self._bias is None else self._bias.nbytes
        original = 4 * self._weight.inputs * self._weight.outputs + bias
        kept = self._weight.nbytes + bias
        return {
            "original_bytes": original,
            "quantized_bytes": kept,
            "compression_ratio": original / kept,
        }


class QuantizedLinear(QuantizedLayer):
    """A linear layer in INT8, made from one in float32; it keeps the codes and not the weight."""

    def __init__(self, linear: Any) -> None:
        """Take over a layer's weight (inputs, outputs) and bias."""
        weight = np.asarray(getattr(linear.weight, "data", linear.weight))
        if weight.ndim != 2:
            raise ShapeError(f"a linear weight is (inputs, outputs), got shape {weight.shape}")
        super().__init__(weight, _bias_of(linear))
        self.in_features, self.out_features = map(int, weight.shape)

    def __repr__(self) -> str:
        how = "dynamic" if self.input_scale is None else f"static, scale {self.input_scale:.3g}"
        return f"QuantizedLinear({self.in_features}, {self.out_features}, activations {how})"

    def _check(self, x: Array) -> None:
        if not x.ndim or x.shape[-1] != self.in_features:
            raise ShapeError(
                f"QuantizedLinear takes inputs of width {self.in_features}, got shape {x.shape}"
            )

    def forward(self, x: Any) -> Any:
        """Return x @ W + b for x (..., inputs), in float32; no gradient is recorded."""
        given = np.asarray(self._inputs_of(x), np.float32)
        self._check(given)
        rows = np.ascontiguousarray(given.reshape(-1, self.in_features))
        result = self._rows(rows).reshape(*given.shape[:-1], self.out_features)
        return Tensor(result) if isinstance(x, Tensor) else result


class QuantizedConv2d(QuantizedLayer):
    """A convolution in INT8 (NCHW): patches as rows, times the weight as a matrix."""

    def __init__(self, conv: Any) -> None:
        """Take over a layer's weight (outputs, channels, kh, kw), bias, stride and padding."""
        weight = np.asarray(getattr(conv.weight, "data", conv.weight))
        if weight.ndim != 4:
            raise ShapeError(f"a convolution's weight must be 4D, got shape {weight.shape}")
        super().__init__(weight.reshape(len(weight), -1).T, _bias_of(conv))
        self.out_channels, self.in_channels = map(int, weight.shape[:2])
        self.kernel = tuple(map(int, weight.shape[2:]))
        self.stride, self.padding = conv.stride, conv.padding

    def _check(self, x: Array) -> None:
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ShapeError(
                f"QuantizedConv2d takes 4D inputs (N, {self.in_channels}, H, W), got {x.shape}"
            )

    def forward(self, x: Any) -> Any:
        """Return the convolution of images (N, C, H, W), in float32; no gradient is recorded."""
        given = np.asarray(self._inputs_of(x), np.float32)
        self._check(given)
        geometry = Geometry.of(given.shape, self.kernel, self.stride, self.padding)
        rows = patches.im2col(given, self.kernel, self.stride, self.padding)
        result = self._rows(np.ascontiguousarray(rows))
        images = result.reshape(len(given), *geometry.output, self.out_channels)
        moved = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        return Tensor(moved) if isinstance(x, Tensor) else moved


def quantizable(layer: Any) -> type[QuantizedLinear] | type[QuantizedConv2d] | None:
    """Return the class that takes a layer over: by its name and its weight's rank, or None."""
    ranks = {"Linear": 2, "Conv2d": 4}
    name = next((base.__name__ for base in type(layer).__mro__ if base.__name__ in ranks), None)
    weight = getattr(layer, "weight", None)
    if name is None or weight is None or isinstance(layer, QuantizedLayer):
        return None
    if np.ndim(getattr(weight, "data", weight)) != ranks[name]:
        raise InvalidValue(f"a {name} with a weight of shape {np.shape(weight)} is not one of ours")
    return QuantizedLinear if name == "Linear" else QuantizedConv2d
