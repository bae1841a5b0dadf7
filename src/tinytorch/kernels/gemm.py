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
from tinytorch.native.gemm import product
from tinytorch.native.gemm.epilogue import ACTIVATIONS
from tinytorch.native.gemm.plan import CacheBytes
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


def gemm(
    a: Array,
    b: Array,
    out: Array | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
    bias: Array | None = None,
    residual: Array | None = None,
    activation: str | None = None,
) -> Array:
    """Return activation(alpha * a @ b + beta * out + bias) + residual; written to `out` if given.

    a (..., M, K), b (..., K, N): batch axes broadcast, any strides, transposed views included.
    bias (N,), residual (..., M, N); activation None, "relu" or "gelu" (its tanh form). All float32
    or all float64. Where beta is 0, `out` is not read. Raises ShapeError, InvalidValue or
    UnsupportedInput for what does not fit.
    """
    extras = Extras(float(alpha), float(beta), bias, residual, activation or "none")
    _checked_types(tuple(array for array in (a, b, bias, residual) if array is not None))
    _checked_extras(ops.get("matmul").output_shape((a.shape, b.shape)), extras)
    if out is None and beta != 0:
        raise InvalidValue(f"gemm's beta={beta} needs an `out` to add to: pass one, or beta=0")
    return into(destination("matmul", (a, b), out), a, b, extras)


def into(result: Array, a: Array, b: Array, extras: Extras = PLAIN) -> Array:
    """Write the product into `result`, which may overlap an operand, and return it."""
    if _overlaps(result, (a, b, extras.bias, extras.residual)):
        apart = aligned_empty(result.shape, result.dtype)
        if extras.beta:
            apart[...] = result
        product.multiply(a, b, apart, cache_bytes(), extras)
        result[...] = apart
    else:
        product.multiply(a, b, result, cache_bytes(), extras)
    return result
