"""`attend` and `attend_ragged`: our own attention with everything that it can do, on ndarrays.

softmax(scale * q kᵀ, what is hidden left out) v, without a score matrix in memory: what is needed
beside the output grows with the length of a sequence, not with its square.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.errors import InvalidValue, ShapeError, UnsupportedInput
from tinytorch.kernels.outputs import aligned_empty, destinations, fitting
from tinytorch.native.attention import attention as native
from tinytorch.native.attention.attention import Options
from tinytorch.ops.attention import output_shape, scale_for
from tinytorch.ops.masked_attention import checked_mask
from tinytorch.ops.spec import FLOATS, Array


def _checked_types(arrays: tuple[Array, ...]) -> None:
    dtype = arrays[0].dtype
    # NOTE: by letter, for NumPy takes microseconds to spell out a name.
    if dtype.char not in "fd" or any(a.dtype != dtype or not a.dtype.isnative for a in arrays):
        seen = ", ".join(str(array.dtype) for array in arrays)
        raise UnsupportedInput(f"attention takes one dtype of {', '.join(FLOATS)}; got {seen}")


def _as_booleans(mask: Array, batch: tuple[int, ...], Tq: int, Tk: int) -> Array:
    if mask.dtype.kind not in "biuf":
        raise InvalidValue(f"attention's mask must hold booleans or numbers, got {mask.dtype}")
    checked_mask("attention", mask.shape, batch, Tq, Tk)
    if mask.dtype.itemsize > 1:  # a byte that is not 0 keeps, whatever it stands for
        mask = mask != 0
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


def attend_with_logs(
    q: Array,
    k: Array,
    v: Array,
    outputs: tuple[Array, ...],
    *,
    causal: bool = False,
    mask: Array | None = None,
    scale: float | None = None,
) -> tuple[Array, ...]:
    """Write `attend`'s output and its logsumexp, both of any strides, into two arrays that fit."""
    result, logs = outputs
    ready = logs.flags.c_contiguous and not any(np.may_share_memory(logs, a) for a in (q, k, v))
    own = logs if ready else np.empty(logs.shape, logs.dtype)
    attend(q, k, v, result, causal=causal, mask=mask, scale=scale, logsumexp=own)
    if own is not logs:
        logs[...] = own
    return outputs


def attend_ragged(
    q: Array,
    k: Array,
    v: Array,
    starts: Any,
    out: Array | None = None,
    *,
    causal: bool = False,
    scale: float | None = None,
    key_starts: Any = None,
) -> Array:
    """Return attention within each of several sequences that lie one after the other, unpadded.

    q (N, H, d), k (M, H, d) and v (M, H, e), of N queries and M keys in all, make (N, H, e).
    Sequence b has the queries starts[b] … starts[b + 1] - 1, and the keys by `key_starts` likewise,
    which are `starts` unless given: both are ascending integers from 0 to N (M), one more than
    there are sequences. Otherwise as `attend`, without a mask.
    """
    _checked_types((q, k, v))
    if any(a.ndim != 3 for a in (q, k, v)) or not q.shape[1] == k.shape[1] == v.shape[1]:
        raise ShapeError(
            f"attend_ragged takes q (N, H, d), k (M, H, d) and v (M, H, e), got {q.shape}, "
            f"{k.shape} and {v.shape}"
        )
    swapped = tuple(a.swapaxes(0, 1).shape for a in (q, k, v))
    output_shape("attend_ragged", swapped)
    places = (
        _checked_starts(starts, q.shape[0]),
        _checked_starts(starts if key_starts is None else key_starts, k.shape[0]),
    )
    if places[0].size != places[1].size:
        raise ShapeError(
            f"attend_ragged needs as many sequences of keys as of queries, got {places[1].size - 1}"
            f" and {places[0].size - 1}"
        )
    shape = (q.shape[0], q.shape[1], v.shape[2])
    result = fitting("attention", shape, q.dtype, out)
    options = Options(scale_for(q.shape[-1], scale), causal)
    if out is not None and any(np.may_share_memory(out, array) for array in (q, k, v)):
        apart = aligned_empty(shape, q.dtype)
        native.ragged(q, k, v, places, apart, options)
        result[...] = apart
    else:
        native.ragged(q, k, v, places, result, options)
    return result


def _checked_starts(starts: Any, total: int) -> Array:
    places = np.asarray(starts)
    if places.ndim != 1 or places.size < 2 or places.dtype.kind not in "iu":
        raise ShapeError(
            "attend_ragged's starts must be integers, one for each sequence and one for the end; "
            f"got {places.dtype} of shape {places.shape}"
        )
    places = places.astype(np.int64)
    if places[0] != 0 or places[-1] != total or (np.diff(places) < 0).any():
        raise InvalidValue(
            f"attend_ragged's starts must ascend from 0 to {total}, got {places.tolist()}"
        )
    return places


def attend_gradient(
    q: Array,
    k: Array,
    v: Array,
    attended: Array,
    logs: Array,
    dout: Array,
    out: tuple[Array, ...] | None = None,
    *,
    causal: bool = False,
    mask: Array | None = None,
    scale: float | None = None,
) -> tuple[Array, ...]:
    """Return (dq, dk, dv) for the gradient `dout` of what `attend` returned, `attended`.

    `logs` are what it wrote to `logsumexp`; the rest must be what it was given. Batch axes must be
    alike. Errors as `attend`.
    """
    arrays = (q, k, v, attended, logs, dout)
    _checked_types(arrays)
    options = {"causal": causal, "scale": scale}
    outputs = destinations("attention_gradient", arrays, out, **options)
    if mask is not None:
        mask = _as_booleans(np.asarray(mask), q.shape[:-2], q.shape[-2], k.shape[-2])
    if not attended.size:
        for output in outputs:
            output[...] = 0
        return outputs
    if out is not None and any(np.may_share_memory(o, a) for o in out for a in arrays):
        results = attend_gradient(*arrays, causal=causal, mask=mask, scale=scale)
        for output, result in zip(outputs, results, strict=True):
            output[...] = result
        return outputs
    native.gradient(
        (q, k, v, attended, dout),
        (outputs[0], outputs[1], outputs[2]),
        Options(scale_for(q.shape[-1], scale), causal, mask, logsumexp=np.ascontiguousarray(logs)),
    )
    return outputs
