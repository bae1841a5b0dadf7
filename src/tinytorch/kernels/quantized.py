"""`prepack` and `quantized_linear`: layers whose products are of INT8 codes, summed exactly.

Y = activation((X codes @ W codes) * scales + b). Weights are packed once and used many times; rows
of activations become codes as they are multiplied.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinytorch.errors import InvalidValue, ShapeError, UnknownName, UnsupportedInput
from tinytorch.kernels.codes import LARGEST_DEPTH
from tinytorch.kernels.outputs import aligned_empty
from tinytorch.native.int8 import dots, product
from tinytorch.native.int8.product import How, Packed
from tinytorch.ops.linear import ACTIVATIONS
from tinytorch.ops.spec import Array

_TOP = 127


@dataclass(frozen=True)
class PackedWeight:
    """Weights of INT8 codes, packed for this CPU. Make it with `prepack`.

    shape: (K, N) of the weight.
    """

    shape: tuple[int, int]
    packed: Packed

    @property
    def scales(self) -> Array:
        """One float32 a column, (N,): weight = code * scale."""
        return self.packed.scales

    @property
    def nbytes(self) -> int:
        """The bytes held of the packed weight, with all that belongs to it."""
        return self.packed.nbytes

    @property
    def activation_bits(self) -> int:
        """The bits of an activation's code: 8, or 7 where the CPU multiplies those faster."""
        return self.packed.dot.top.bit_length()


def weight_codes(weight: Array, top: int = _TOP) -> tuple[Array, Array]:
    """Return int8 codes (K, N) and float32 scales (N,) of a weight: symmetric, by column.

    scale = max|w| / top, so a column's largest weight is exact; a column of zeros has scale 1.
    Raises InvalidValue for NaN and infinity.
    """
    largest = np.max(np.abs(weight), axis=0, initial=0)
    if not np.isfinite(largest).all():
        raise InvalidValue("the weight holds NaN or infinity, which have no INT8 code")
    scales = np.maximum(largest / np.float32(top), np.finfo(np.float32).tiny)
    scales = np.where(largest > 0, scales, 1).astype(np.float32)
    codes = np.rint(weight / scales)
    return np.clip(codes, -top, top).astype(np.int8), scales


def prepack(
    weight: Array, scales: Array | None = None, *, activation_bits: int | None = None
) -> PackedWeight:
    """Return a weight (K, N) ready for `quantized_linear`: float32, or int8 codes and their scales.

    `activation_bits`: 8 for activations in 8 bits, or given as codes; by default 7 where that is
    faster, on CPUs without INT8 dot products. `scales` are (N,), positive. Raises UnsupportedInput,
    ShapeError or InvalidValue for what does not fit.
    """
    if weight.ndim != 2:
        raise ShapeError(f"prepack takes a weight of shape (K, N), got {weight.shape}")
    if weight.shape[0] > LARGEST_DEPTH // 2:
        raise InvalidValue(
            f"a weight of {weight.shape[0]} rows may overflow int32 sums: cut it into parts of at "
            f"most {LARGEST_DEPTH // 2} and add up their products"
        )
    if activation_bits not in (None, 8):
        raise InvalidValue(
            f"activation_bits must be 8, or None for the fastest; got {activation_bits!r}"
        )
    if weight.dtype == np.float32 and scales is None:
        weight, scales = weight_codes(weight)
    elif weight.dtype != np.int8 or scales is None:
        raise UnsupportedInput(
            f"prepack takes a float32 weight, or int8 codes with their scales; got {weight.dtype} "
            f"{'without' if scales is None else 'with'} scales"
        )
    scales = np.array(scales, np.float32)
    if scales.shape != weight.shape[1:]:
        raise ShapeError(f"scales must have shape {weight.shape[1:]}, got {scales.shape}")
    if not (np.isfinite(scales).all() and (scales > 0).all()):
        raise InvalidValue("scales must be positive and finite")
    dot = dots.fastest_full() if activation_bits == 8 else dots.fastest()
    return PackedWeight(weight.shape, product.pack(weight, dot, scales))


@dataclass(frozen=True)
class Codes:
    """What activations that are given as codes stand for: value = (code - zero) * scale."""

    scale: float
    zero: int = 0


def _static(span: tuple[float, float] | None, top: int) -> tuple[float, float]:
    """Return the scale and the zero of codes 0 … top that cover a span; 0 for none."""
    if span is None:
        return 0.0, 0.0
    low, high = (float(value) for value in span)
    if not (low <= 0 <= high and math.isfinite(high - low) and low < high):
        raise InvalidValue(f"a span must be finite and hold 0, low < high; got {span!r}")
    scale = (high - low) / top
    return scale, float(min(round(-low / scale), top))


def _how(
    x: Array,
    weight: PackedWeight,
    span: tuple[float, float] | None,
    given: Codes | None,
    activation: str,
) -> tuple[Array, How]:
    """Return the activations as rows that the product takes, and what it is to do with them."""
    dot = weight.packed.dot
    if x.dtype == np.float32:
        if given is not None:
            raise InvalidValue("`codes` is for activations of int8 or uint8; got float32 ones")
        return x, How(*_static(span, dot.top), dot.top, activation)
    if x.dtype not in (np.int8, np.uint8) or given is None or span is not None:
        raise UnsupportedInput(
            "quantized_linear takes float32 activations, or int8 or uint8 with `codes`; got "
            f"{x.dtype} {'without' if given is None else 'with'} `codes`"
        )
    if weight.activation_bits != 8:
        raise UnsupportedInput(
            "this weight is packed for activations of 7 bits: prepack it with activation_bits=8"
        )
    zero = given.zero
    if x.dtype == np.uint8:
        x, zero = (x ^ np.uint8(128)).view(np.int8), zero - 128
    offset = 128 if dot.group == 4 else 0
    return x, How(float(given.scale), float(zero + offset), offset, activation)


def quantized_linear(
    x: Array,
    weight: PackedWeight,
    bias: Array | None = None,
    activation: str = "none",
    out: Array | None = None,
    *,
    span: tuple[float, float] | None = None,
    codes: Codes | None = None,
) -> Array:
    """Return activation(x @ weight + bias) in float32, multiplied as codes; into `out` if given.

    x (..., K): float32, each row in codes of its own scale and zero (dynamic), or all in those that
    cover `span`, (low, high), beyond which values saturate (static); or int8 or uint8 `codes`, and
    what they stand for. A row with NaN (or, dynamic, infinity) gives NaN. bias (N,) float32;
    activation "none", "relu", "gelu" (its tanh form) or "gelu_erf". The result does not depend on
    the number of threads, or on what other rows hold. Raises ShapeError, InvalidValue or
    UnsupportedInput.
    """
    if activation not in ACTIVATIONS:
        raise UnknownName("activation", activation, ACTIVATIONS)
    K, N = weight.shape
    if not x.ndim or x.shape[-1] != K:
        raise ShapeError(f"x {x.shape} does not match the weight {weight.shape}: its last axis")
    if bias is not None and bias.shape != (N,):
        raise ShapeError(f"quantized_linear's bias must have shape {(N,)}, got {bias.shape}")
    given, how = _how(x, weight, span, codes, activation)
    shape = (*x.shape[:-1], N)
    result = _checked(out, shape) if out is not None else aligned_empty(shape, np.float32)
    rows = given.reshape(math.prod(x.shape[:-1]), K)
    if K and rows.strides[1] != rows.itemsize:
        rows = np.ascontiguousarray(rows)
    target = result
    if out is not None and (not out.flags.c_contiguous or np.may_share_memory(out, x)):
        target = aligned_empty(shape, np.float32)
    product.multiply(rows, weight.packed, target.reshape(len(rows), N), how, bias)
    if target is not result:
        result[...] = target
    return result


def _checked(out: Array, shape: tuple[int, ...]) -> Array:
    if not isinstance(out, np.ndarray) or out.dtype != np.float32 or not out.flags.writeable:
        raise InvalidValue("quantized_linear's out must be a writable ndarray of float32")
    if out.shape != shape:
        raise ShapeError(f"quantized_linear's out must have shape {shape}, got {out.shape}")
    return out
