"""`attend` and `attend_ragged`: our own attention with everything that it can do, on ndarrays.

softmax(scale * q kᵀ, what is hidden left out) v, without a score matrix in memory: what is needed
beside the output grows with the length of a sequence, not with its square.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.errors import InvalidValue, ShapeError, UnsupportedInput
from tinytorch.kernels.outputs import aligned_empty, fitting
from tinytorch.native.attention import attention as native
from tinytorch.native.attention.attention import Options
from tinytorch.ops.attention import output_shape, scale_for
from tinytorch.ops.masked_attention import checked_mask
from tinytorch.ops.spec import FLOATS, Array


def _checked_types(arrays: tuple[Array, ...]) -> None:
    dtype = arrays[0].dtype
    if dtype.name not in FLOATS or any(a.dtype != dtype or not a.dtype.isnative for a in arrays):
        seen = ", ".join(str(array.dtype) for array in arrays)
        raise UnsupportedInput(f"attention takes one dtype of {', '.join(FLOATS)}; got {seen}")


def _as_booleans(mask: Array, batch: tuple[int, ...], Tq: int, Tk: int) -> Array:
    if mask.dtype.kind not in "biuf":
        raise InvalidValue(f"attention's mask must hold booleans or numbers, got {mask.dtype}")
    checked_mask("attention", mask.shape, batch, Tq, Tk)
    mask = mask if mask.dtype == np.bool_ else mask != 0
    return mask if mask.ndim > 1 else np.broadcast_to(mask, (Tq, Tk))


def _checked_lengths(lengths: Any, batch: tuple[int, ...], Tk: int) -> Array:
    counts = np.asarray(lengths)
    if counts.dtype.kind not in "iu" or counts.shape != batch[:1]:
        raise ShapeError(
            f"attention's lengths must be {batch[:1]} integers, one for each sequence of the first "
            f"axis; got {counts.dtype} of shape {counts.shape}"
        )
    if counts.size and not 0 <= counts.min() <= counts.max() <= Tk:
        raise InvalidValue(
            f"attention's lengths must be between 0 and {Tk}, the number of keys; got "
            f"{counts.min()} to {counts.max()}"
        )
    return counts.astype(np.int64)


def attend(
    q: Array,
    k: Array,
    v: Array,
    out: Array | None = None,
    *,
    causal: bool = False,
    mask: Array | None = None,
    lengths: Any = None,
    scale: float | None = None,
    logsumexp: Array | None = None,
) -> Array:
    """Return attention of q (..., Tq, d) over k (..., Tk, d) and v (..., Tk, e): (..., Tq, e).

    float32 or float64, any strides (heads as a transposed view need no copy), batch axes broadcast;
    `scale` is 1/sqrt(d) unless given. A query sees all keys but those hidden from it: with `causal`
    those after key i + Tk - Tq; those where `mask`, which broadcasts to (..., Tq, Tk), is 0 or
    False; and those from `lengths[b]` on, an integer for each b along the first axis (with `causal`
    the queries are then the last of so many keys). What sees nothing is 0.

    `logsumexp` (..., Tq), C-contiguous, receives log(sum(exp(scores))) of each query, natural, -inf
    where it sees nothing. Raises ShapeError, InvalidValue or UnsupportedInput for what doesn't fit.
    """
    _checked_types((q, k, v))
    shape = output_shape("attention", (q.shape, k.shape, v.shape))
    batch, Tq, Tk = shape[:-2], shape[-2], k.shape[-2]
    result = fitting("attention", shape, q.dtype, out)
    if mask is not None:
        mask = _as_booleans(np.asarray(mask), batch, Tq, Tk)
    if lengths is not None:
        lengths = _checked_lengths(lengths, batch, Tk)
    if logsumexp is not None and not (
        logsumexp.shape == shape[:-1]
        and logsumexp.dtype == q.dtype
        and logsumexp.flags.c_contiguous
    ):
        raise ShapeError(
            f"attention's logsumexp must be a C-contiguous {q.dtype} array of shape {shape[:-1]}, "
            f"got {logsumexp.dtype} of shape {logsumexp.shape}"
        )
    options = Options(scale_for(q.shape[-1], scale), causal, mask, lengths, logsumexp)
    if out is not None and any(np.may_share_memory(out, array) for array in (q, k, v)):
        apart = aligned_empty(shape, q.dtype)
        native.attention(q, k, v, apart, options)
        result[...] = apart
    else:
        native.attention(q, k, v, result, options)
    return result
