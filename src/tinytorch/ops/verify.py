"""The only judge of correctness: an output is accepted when it is proven close, never by habit."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinytorch.errors import VerificationError
from tinytorch.ops.spec import Array, Op, Params


@dataclass(frozen=True)
class Check:
    """What `verify` found. `worst` is the largest error as a share of its bound (over 1 fails)."""

    ok: bool
    worst: float
    fault: str
    reason: str

    def require(self, what: str) -> Check:
        """Return self, or raise VerificationError that names `what` and the reason."""
        if not self.ok:
            raise VerificationError(f"{what} is wrong ({self.fault}): {self.reason}")
        return self


def _failed(fault: str, reason: str, worst: float = np.inf) -> Check:
    return Check(False, worst, fault, reason)


def _as_reference(array: Array) -> Array:
    return array.astype(np.float64) if array.dtype.kind == "f" else array.astype(np.int64)


def expected_dtype(op: Op, inputs: tuple[Array, ...]) -> np.dtype[Any]:
    """Return the dtype an output must have."""
    return np.dtype(op.output_dtype) if op.output_dtype else np.result_type(*inputs)


def verify(
    op: Op,
    inputs: tuple[Array, ...],
    output: Any,
    params: Params | None = None,
    *,
    pristine: tuple[Array, ...] | None = None,
) -> Check:
    """Judge an output: type, shape, dtype, inputs untouched, finite where it must be, and close.

    `pristine` are copies of the inputs from before the call, where the caller kept them. Close
    means |output - reference| <= eps x tolerance.bound + the smallest normal number, elementwise.
    """
    params = params or {}
    if not isinstance(output, np.ndarray | np.generic):
        return _failed("type", f"expected an ndarray, got {type(output).__name__}")
    output = np.asarray(output)
    shape = op.output_shape(tuple(array.shape for array in inputs), **params)
    if output.shape != shape:
        return _failed("shape", f"expected {shape}, got {output.shape}")
    dtype = expected_dtype(op, inputs)
    if output.dtype != dtype:
        return _failed("dtype", f"expected {dtype}, got {output.dtype}")
    for i, before in enumerate(pristine or ()):
        if not np.array_equal(before, inputs[i], equal_nan=before.dtype.kind == "f"):
            return _failed("input written", f"input {i} was changed by the call")
    return _close(op, inputs, output, params)


def _close(op: Op, inputs: tuple[Array, ...], output: Array, params: Params) -> Check:
    exact = [_as_reference(array) for array in inputs]
    with np.errstate(all="ignore"):
        reference = np.asarray(op.reference(*exact, **params))
        if output.dtype.kind != "f":
            wrong = np.flatnonzero(output != reference)
            if wrong.size:
                return _failed("value", f"{wrong.size} of {output.size} integers differ")
            return Check(True, 0.0, "", "")
        info = np.finfo(output.dtype)
        odd = ~np.isfinite(reference)
        if not np.array_equal(output[odd], reference[odd], equal_nan=True):
            return _failed("not finite", "NaN or infinity differ from where the reference has them")
        fits = np.abs(reference) <= info.max
        strange = np.isnan(output) & ~odd | np.isinf(output) & fits
        if np.any(strange):
            count = int(np.sum(strange))
            return _failed("not finite", f"{count} values are NaN or infinite and should not be")
        # Beyond the type's range, the largest number and infinity are one.
        seen, wanted = (
            np.clip(values, -float(info.max), float(info.max))
            for values in (output.astype(np.float64), reference)
        )
        error = np.abs(seen - wanted)[~odd]
        bound = np.broadcast_to(op.tolerance.bound(reference, *exact, **params), reference.shape)
        allowed = float(info.eps) * np.abs(bound)[~odd] + float(info.smallest_normal)
        share = error / allowed
    if not share.size:
        return Check(True, 0.0, "", "")
    worst = float(share.max())
    if worst <= 1:
        return Check(True, worst, "", "")
    at = np.argwhere(~odd)[int(share.argmax())] if output.ndim else ()
    index = tuple(int(i) for i in at)
    reason = (
        f"error {worst:.3g} times its bound at {index}: expected {reference[index]:.9g}, got "
        f"{output[index]:.9g} ({int(np.sum(share > 1))} of {output.size} values out of bounds)"
    )
    return _failed("value", reason, worst)


def run_checked(
    op: Op,
    function: Callable[..., Any],
    inputs: tuple[Array, ...],
    params: Params | None = None,
    out: Array | None = None,
) -> Check:
    """Call `function` on the inputs and judge the result, its inputs and its use of `out`."""
    pristine = tuple(array.copy(order="K") for array in inputs)
    keywords = dict(params or {})
    if out is not None:
        keywords["out"] = out
    try:
        output = function(*inputs, **keywords)
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"line {last.lineno} of {Path(last.filename).name}"
        return _failed("raised", f"{type(error).__name__}: {error} ({where})")
    if out is not None and output is not out:
        return _failed("out", "the result is not the array that was given as `out`")
    fresh = out is None and isinstance(output, np.ndarray)
    if fresh and any(np.may_share_memory(output, array) for array in inputs):
        return _failed("input returned", "the result shares memory with an input")
    return verify(op, inputs, output, params, pristine=pristine)
