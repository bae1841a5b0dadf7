"""The conformance run: is a kernel right on everything that its op's description asks for?

The same run judges our own rungs in the tests, a user's kernel file before it becomes a backend,
and whatever else claims to compute an op.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinytorch import ops
from tinytorch.kernels.registry import Kernel
from tinytorch.ops.spec import LAYOUTS, Array, Op, Params, Size
from tinytorch.ops.verify import Check, expected_dtype, outputs_of, run_checked

SPECIAL = "specials"


@dataclass(frozen=True)
class Case:
    """One input that a kernel was tried on, and the judgement; `refused` is the kernel's reason."""

    kernel: str
    size: str
    dtype: str
    layout: str
    params: str
    with_out: bool
    check: Check
    refused: str | None = None

    def __str__(self) -> str:
        how = [self.kernel, self.size, self.dtype, self.layout, self.params]
        how.append("out=" if self.with_out else "")
        return f"{' '.join(part for part in how if part)}: {self.check.fault} {self.check.reason}"


_NOT_RUN = Check(True, 0.0, "", "")


def run(kernel: Kernel) -> Iterator[Case]:
    """Yield the judgement of every case of the op's suite, one kernel call (or refusal) each."""
    op = ops.get(kernel.op)
    for params in op.variants:
        for dtype in op.dtypes:
            for size in op.sizes:
                for layout in LAYOUTS:
                    yield from _try(kernel, op, size, dtype, layout, params)
            yield from _try_specials(kernel, op, dtype, params)


def _try(
    kernel: Kernel, op: Op, size: Size, dtype: str, layout: str, params: Params
) -> Iterator[Case]:
    arrays = op.inputs(size.shapes, dtype, layout)
    for with_out in (False, True):
        yield _judge(kernel, op, arrays, params, with_out, (size.name, dtype, layout))


def _try_specials(kernel: Kernel, op: Op, dtype: str, params: Params) -> Iterator[Case]:
    if not op.specials:
        return
    values = np.array(op.specials, dtype)
    arrays = (values, values[::-1].copy())[: op.arity]
    yield _judge(kernel, op, arrays, params, False, (SPECIAL, dtype, "C"))


def _judge(
    kernel: Kernel,
    op: Op,
    arrays: tuple[Array, ...],
    params: Params,
    with_out: bool,
    where: tuple[str, str, str],
) -> Case:
    described: dict[str, Any] = dict(
        zip(("size", "dtype", "layout"), where, strict=True),
        kernel=f"{kernel.op}/{kernel.name}",
        params=op.params_text(params),
        with_out=with_out,
    )
    try:
        refused = kernel.refuses(arrays)
        if refused:
            return Case(**described, check=_NOT_RUN, refused=refused)
        with np.errstate(all="ignore"):
            check = _checked_call(kernel, op, arrays, params, with_out)
        if check.ok and not with_out and where[0] != SPECIAL and where[2] == "C":
            check = _checked_again(kernel, op, arrays, params)
    except Exception as error:
        check = Check(False, np.inf, "raised", f"{type(error).__name__}: {error}")
    return Case(**described, check=check)


def _checked_call(
    kernel: Kernel, op: Op, arrays: tuple[Array, ...], params: Params, with_out: bool
) -> Check:
    shapes = op.output_shapes(tuple(a.shape for a in arrays), params)
    # NOTE: freed at once, for np.empty to find: with luck, it would find an earlier, right result.
    spoilt = [
        tuple(np.full(shape, 113, expected_dtype(op, arrays)) for shape in shapes)
        for _ in range(len(arrays) + 2)
    ]
    out: Any = spoilt.pop() if with_out else None
    if with_out and op.outputs == 1:
        (out,) = out
    del spoilt
    return run_checked(op, kernel.function, arrays, params, out)


def _checked_again(kernel: Kernel, op: Op, arrays: tuple[Array, ...], params: Params) -> Check:
    """Judge a second call, on the same arrays with other values: nothing may be remembered."""
    arrays = tuple(array.copy() for array in arrays)
    first = outputs_of(op, kernel.function(*arrays, **params)) or ()
    kept = [np.copy(one) for one in first]
    others = op.inputs(tuple(a.shape for a in arrays), arrays[0].dtype.name, seed=1)
    for array, other in zip(arrays, others, strict=True):
        array[...] = other
    check = run_checked(op, kernel.function, arrays, params)
    if not check.ok:
        return replace(check, reason=f"in a second call, with other values: {check.reason}")
    pairs = zip(first, kept, strict=True)
    if not all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs):
        return Check(False, np.inf, "stale", "a later call changed the result of an earlier one")
    return check
