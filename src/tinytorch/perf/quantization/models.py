"""Whole models in INT8: in place, with calibration, and with the sizes before and after."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue
from tinytorch.perf import models
from tinytorch.perf.models import MIB
from tinytorch.perf.quantization.affine import dequantize_int8, quantize_int8
from tinytorch.perf.quantization.calibration import Observer
from tinytorch.perf.quantization.layers import QuantizedLayer, quantizable


def _targets(model: Any) -> dict[str, Any]:
    """Return the layers that can be quantized by path; raises InvalidValue without any."""
    found = {p: layer for p, layer in models.named_layers(model) if quantizable(layer)}
    if "" in found:
        raise InvalidValue(
            f"a {type(model).__name__} by itself can't be replaced in place: use QuantizedLinear, "
            "or put it into a Sequential"
        )
    if not found:
        raise InvalidValue(f"a {type(model).__name__} holds no Linear or Conv2d to quantize")
    return found


def _observe(model: Any, layers: dict[str, Any], data: Iterable[Any], method: str) -> Any:
    """Run the float model on samples, and return what each layer's input was like."""
    observers = {path: Observer(method) for path in layers}
    for path, layer in layers.items():
        _watch(layer, observers[path])
    try:
        for sample in data:
            models.run(model, sample if isinstance(sample, Tensor) else Tensor(sample))
    finally:
        for layer in layers.values():
            vars(layer).pop("forward", None)
    return observers


def _watch(layer: Any, observer: Observer) -> None:
    forward = layer.forward

    def watching(x: Any, *rest: Any, **named: Any) -> Any:
        observer.observe(x)
        return forward(x, *rest, **named)

    layer.forward = watching


def quantize_model(model: Any, calibration_data: Any = None, method: str = "minmax") -> Any:
    """Replace every Linear and Conv2d of a model by its INT8 version, in place; return the model.

    calibration_data: sample inputs (batches), or one batch: the float model is run on them first,
    and each layer's activations get a fixed scale by `method` ("minmax", "percentile", "mse").
    Without them, and for layers that the samples don't reach, activations are dynamic. Nothing is
    changed before everything has been tried. Raises InvalidValue where there is nothing to do.
    """
    layers = _targets(model)
    observers: dict[str, Observer] = {}
    if calibration_data is not None:
        one = isinstance(calibration_data, Tensor | np.ndarray)
        samples = [calibration_data] if one else list(calibration_data)
        if not samples:
            raise InvalidValue("calibration_data is empty: give sample inputs, or None")
        observers = _observe(model, layers, samples, method)
    replacements: dict[str, QuantizedLayer] = {}
    made: dict[int, QuantizedLayer] = {}
    for path, layer in layers.items():
        kind = quantizable(layer)
        assert kind is not None
        replacements[path] = made.setdefault(id(layer), kind(layer))
        if path in observers and observers[path].count:
            replacements[path].fix(observers[path])
    for path, layer in replacements.items():
        models.replace_layer(model, path, layer)
    return model


def _codes_in(model: Any) -> int:
    """Return how many of a model's layers hold int8 codes."""
    return sum(isinstance(layer, QuantizedLayer) for layer in models.layers_of(model))


def analyze_model_sizes(original: Any, quantized: Any) -> dict[str, float]:
    """Return what two models keep: original_bytes, quantized_bytes, compression_ratio and more.

    original_params, quantized_params: counts of numbers; original_mb, quantized_mb and
    memory_saved_mb in 2**20 bytes; memory_saved_percent. Bytes are of all that a model's layers
    keep, scales and biases included.
    """
    before, after = models.parameter_bytes(original), models.parameter_bytes(quantized)
    if not before or not after:
        raise InvalidValue("a model without parameters has no size to compare")
    return {
        "original_params": models.parameter_count(original),
        "quantized_params": models.parameter_count(quantized),
        "original_bytes": before,
        "quantized_bytes": after,
        "original_mb": before / MIB,
        "quantized_mb": after / MIB,
        "compression_ratio": before / after,
        "memory_saved_mb": (before - after) / MIB,
        "memory_saved_percent": 100 * (before - after) / before,
    }


def verify_quantization_works(original: Any, quantized: Any) -> dict[str, Any]:
    """Return sizes, how many layers hold int8 codes, and `verified`: some do, and it is smaller.

    actual_reduction is the ratio of bytes.
    """
    sizes = analyze_model_sizes(original, quantized)
    layers = _codes_in(quantized)
    return {
        **sizes,
        "actual_reduction": sizes["compression_ratio"],
        "quantized_layers": layers,
        "verified": layers > 0 and sizes["compression_ratio"] > 1,
    }


class Quantizer:
    """The same functions under the names of earlier versions."""

    @staticmethod
    def quantize_tensor(tensor: Any) -> tuple[Any, float, int]:
        """As quantize_int8."""
        return quantize_int8(tensor)

    @staticmethod
    def dequantize_tensor(codes: Any, scale: float, zero_point: int) -> Any:
        """As dequantize_int8."""
        return dequantize_int8(codes, scale, zero_point)

    @staticmethod
    def quantize_model(model: Any, calibration_data: Any = None) -> dict[str, float]:
        """Quantize in place; return quantized_layers, original_size_mb, quantized_size_mb, and
        compression_ratio."""
        before = models.parameter_bytes(model)
        quantize_model(model, calibration_data)
        after = models.parameter_bytes(model)
        return {
            "quantized_layers": _codes_in(model),
            "original_size_mb": before / MIB,
            "quantized_size_mb": after / MIB,
            "compression_ratio": before / after,
        }

    @staticmethod
    def compare_models(original: Any, quantized: Any) -> dict[str, float]:
        """As analyze_model_sizes."""
        return analyze_model_sizes(original, quantized)
