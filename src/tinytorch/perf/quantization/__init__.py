"""Quantization: numbers as 8-bit (or 4-bit) codes, stored and multiplied as such.

The formula is value = (code - zero_point) * scale (Jacob et al., "Quantization and Training of
Neural Networks for Efficient Integer-Arithmetic-Only Inference", 2018).
"""

from tinytorch.perf.quantization.affine import Codes, dequantize_int8, quantize, quantize_int8
from tinytorch.perf.quantization.calibration import METHODS, Observer
from tinytorch.perf.quantization.int4 import Int4Linear, Int4Weight, quantize_int4
from tinytorch.perf.quantization.layers import QuantizedConv2d, QuantizedLinear
from tinytorch.perf.quantization.models import (
    Quantizer,
    analyze_model_sizes,
    quantize_model,
    verify_quantization_works,
)

__all__ = [
    "METHODS",
    "Codes",
    "Int4Linear",
    "Int4Weight",
    "Observer",
    "QuantizedConv2d",
    "QuantizedLinear",
    "Quantizer",
    "analyze_model_sizes",
    "dequantize_int8",
    "quantize",
    "quantize_int4",
    "quantize_int8",
    "quantize_model",
    "verify_quantization_works",
]
