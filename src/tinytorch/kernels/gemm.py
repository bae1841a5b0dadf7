"""`gemm`: our own product with everything that can be fused into it, for float32 and float64.

C = activation(alpha * A @ B + beta * C + bias) + residual, in one pass over C.
"""

from __future__ import annotations

import functools

import numpy as np

from tinytorch import ops
from tinytorch.errors import InvalidValue, ShapeError, UnknownName, UnsupportedInput
from tinytorch.kernels.outputs import aligned_empty, destination
from tinytorch.measure.caches import detect_caches
from tinytorch.native.gemm import prepacked, product
from tinytorch.native.gemm.epilogue import ACTIVATIONS
from tinytorch.native.gemm.plan import CacheBytes
from tinytorch.native.gemm.prepacked import PackedMatrix
from tinytorch.native.gemm.product import PLAIN, Extras
from tinytorch.ops.spec import FLOATS, Array


@functools.cache
def cache_bytes() -> CacheBytes:
    """Return this machine's caches as blocks are fitted to them; what can't be read, by default."""
    known = CacheBytes()
    data = {c.level: c for c in detect_caches() if c.kind != "instruction"}
    second = data[2].size_bytes // (data[2].shared_by or 1) if 2 in data else known.second
    last = data[3].size_bytes // (data[3].shared_by or 1) if 3 in data else known.last
    return CacheBytes(second, max(last, second))


def _overlaps(out: Array, arrays: tuple[Array | None, ...]) -> bool:
    return any(array is not None and np.may_share_memory(out, array) for array in arrays)


def _checked_types(arrays: tuple[Array, ...]) -> None:
    dtype = arrays[0].dtype
    if dtype.name not in FLOATS or any(a.dtype != dtype or not a.dtype.isnative for a in arrays):
        seen = ", ".join(str(array.dtype) for array in arrays)
        raise UnsupportedInput(f"gemm takes one dtype of {', '.join(FLOATS)}; got {seen}")


def _checked_extras(shape: tuple[int, ...], extras: Extras) -> None:
    if extras.activation not in ACTIVATIONS:
        raise UnknownName("activation", extras.activation, ACTIVATIONS)
    if extras.bias is not None and extras.bias.shape != shape[-1:]:
        raise ShapeError(
            f"gemm's bias must have shape {shape[-1:]}, one value a column; got {extras.bias.shape}"
        )
    if extras.residual is not None and extras.residual.shape != shape:
        raise ShapeError(
            f"gemm's residual must have the output's shape {shape}, got {extras.residual.shape}"
        )


def prepack(b: Array) -> PackedMatrix:
    """Return b (K, N), float32 or float64 of any strides, packed for many products `gemm(a, b)`.

    It is a copy: later changes of `b` don't reach it. Raises ShapeError or UnsupportedInput.
    """
    if b.ndim != 2:
        raise ShapeError(f"prepack takes one matrix (K, N), got shape {b.shape}")
    _checked_types((b,))
    return prepacked.pack(b)


def gemm(
    a: Array,
    b: Array | PackedMatrix,
    out: Array | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
    bias: Array | None = None,
    residual: Array | None = None,
    activation: str | None = None,
) -> Array:
    """Return activation(alpha * a @ b + beta * out + bias) + residual; written to `out` if given.

    a (..., M, K), b (..., K, N): batch axes broadcast, any strides, transposed views included; or b
    from `prepack`, which spares packing it again.
    bias (N,), residual (..., M, N); activation None, "relu", "gelu" (its tanh form) or "gelu_erf".
    All float32 or all float64. Where beta is 0, `out` is not read. Raises ShapeError, InvalidValue
    or UnsupportedInput for what does not fit.
    """
    extras = Extras(float(alpha), float(beta), bias, residual, activation or "none")
    plain = b.view if isinstance(b, PackedMatrix) else b
    _checked_types(tuple(array for array in (a, plain, bias, residual) if array is not None))
    _checked_extras(ops.get("matmul").output_shape((a.shape, b.shape)), extras)
    if out is None and beta != 0:
        raise InvalidValue(f"gemm's beta={beta} needs an `out` to add to: pass one, or beta=0")
    return into(destination("matmul", (a, plain), out), a, b, extras)


def into(result: Array, a: Array, b: Array | PackedMatrix, extras: Extras = PLAIN) -> Array:
    """Write the product into `result`, which may overlap an operand, and return it."""
    own = None if isinstance(b, PackedMatrix) else b
    if _overlaps(result, (a, own, extras.bias, extras.residual)):
        apart = aligned_empty(result.shape, result.dtype)
        if extras.beta:
            apart[...] = result
        product.multiply(a, b, apart, cache_bytes(), extras)
        result[...] = apart
    else:
        product.multiply(a, b, result, cache_bytes(), extras)
    return result
