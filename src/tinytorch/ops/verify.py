"""The only judge of correctness: an output is accepted when it is proven close, never by habit."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
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
    """Return the dtype that an op's outputs must have."""
    return np.dtype(op.output_dtype) if op.output_dtype else np.result_type(*op.valued(inputs))


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
    outputs = outputs_of(op, output)
    if outputs is None:
        return _failed("type", f"expected {op.outputs} arrays, got {type(output).__name__}")
    shapes = op.output_shapes(tuple(array.shape for array in inputs), params)
    dtype = expected_dtype(op, inputs)
    for one, shape in zip(outputs, shapes, strict=True):
        if not isinstance(one, np.ndarray | np.generic):
            return _failed("type", f"expected an ndarray, got {type(one).__name__}")
        if one.shape != shape:
            return _failed("shape", f"expected {shape}, got {one.shape}")
        if one.dtype != dtype:
            return _failed("dtype", f"expected {dtype}, got {one.dtype}")
    for i, before in enumerate(pristine or ()):
        if not np.array_equal(before, inputs[i], equal_nan=before.dtype.kind == "f"):
            return _failed("input written", f"input {i} was changed by the call")
    return _close(op, inputs, outputs, params)


def outputs_of(op: Op, output: Any) -> tuple[Any, ...] | None:
    """Return what a call of the op returned as a tuple; None where it is not as many arrays."""
    if op.outputs == 1:
        return (output,)
    fits = isinstance(output, tuple) and len(output) == op.outputs
    return output if fits else None


def _close(op: Op, inputs: tuple[Array, ...], outputs: tuple[Array, ...], params: Params) -> Check:
    """Judge each output; the worst judgement is the op's."""
    exact = [_as_reference(array) for array in inputs]
    with np.errstate(all="ignore"):
        references = op.reference(*exact, **params)
        integral = np.asarray(outputs[0]).dtype.kind != "f"
        bounds = None if integral else op.tolerance.bound(references, *exact, **params)
    several = op.outputs > 1
    checks = [
        _one_close(np.asarray(output), np.asarray(reference), bound)
        for output, reference, bound in zip(
            outputs,
            references if several else (references,),
            bounds if several and bounds is not None else (bounds,) * len(outputs),
            strict=True,
        )
    ]
    worst = max(range(len(checks)), key=lambda i: (not checks[i].ok, checks[i].worst))
    check = checks[worst]
    return (
        check
        if check.ok or not several
        else replace(check, reason=f"output {worst}: {check.reason}")
    )


def _one_close(output: Array, reference: Array, bound: Any) -> Check:
    with np.errstate(all="ignore"):
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
        bound = np.broadcast_to(bound, reference.shape)
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
    out: Any = None,
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
    made = outputs_of(op, output) or ()
    if out is not None:
        given = outputs_of(op, out) or ()
        if any(one is not target for one, target in zip(made, given, strict=False)):
            return _failed("out", "the result is not the array that was given as `out`")
    elif any(isinstance(m, np.ndarray) and np.may_share_memory(m, a) for m in made for a in inputs):
        return _failed("input returned", "the result shares memory with an input")
    return verify(op, inputs, output, params, pristine=pristine)
