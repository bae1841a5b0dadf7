"""Where a kernel writes: a fresh aligned array, or the caller's `out` once it is known to fit.

Compiled loops don't check bounds, so nothing reaches one before it has passed here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch import ops
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.native import aligned
from tinytorch.ops.spec import Array, Shape, Shapes
from tinytorch.ops.verify import expected_dtype


def aligned_empty(shape: Shape, dtype: Any) -> Array:
    """Return an uninitialised array; large ones start where SIMD stores like them to."""
    return aligned.empty(shape, np.dtype(dtype))


def destination(op: str, arrays: tuple[Array, ...], out: Array | None, **params: Any) -> Array:
    """Return the array to write the op's output into: `out` if it fits, or a fresh one.

    Raises ShapeError or InvalidValue with both sides named when `out` does not fit.
    """
    shapes, dtypes = tuple([a.shape for a in arrays]), tuple([a.dtype for a in arrays])
    (shape,), dtype = _remembered(op, shapes, dtypes, **params)
    return fitting(op, shape, dtype, out)


def _described(
    op: str, shapes: tuple[Shape, ...], dtypes: tuple[np.dtype[Any], ...], **params: Any
) -> tuple[Shapes, np.dtype[Any]]:
    """Return the shapes and the dtype of an op's outputs."""
    described = ops.get(op)
    found = described.output_shapes(shapes, params)
    return found, expected_dtype(described, tuple(np.empty(0, dtype) for dtype in dtypes))


# NOTE: asking the op takes longer than a small kernel.
_remembered = functools.lru_cache(maxsize=4096)(_described)


def destinations(
    op: str, arrays: tuple[Array, ...], out: tuple[Array, ...] | None, **params: Any
) -> tuple[Array, ...]:
    """Return the arrays to write the outputs of an op with several into, as `destination` does."""
    given, dtypes = tuple([a.shape for a in arrays]), tuple([a.dtype for a in arrays])
    # A number that changes from call to call (a step's) would be remembered for nothing.
    changing = any(value.__class__ is float for value in params.values())
    shapes, dtype = (_described if changing else _remembered)(op, given, dtypes, **params)
    if out is None:
        return tuple(aligned_empty(shape, dtype) for shape in shapes)
    if not isinstance(out, tuple) or len(out) != len(shapes):
        raise InvalidValue(f"{op}'s out must be a tuple of {len(shapes)} arrays")
    for i, one in enumerate(out):
        if any(_overlap(one, other) for other in out[:i]):
            raise InvalidValue(f"{op}'s out arrays overlap: pass one array for each output")
    return tuple(fitting(op, s, dtype, one) for s, one in zip(shapes, out, strict=True))


def _overlap(a: Array, b: Array) -> bool:
    """Say whether arrays have an element in common; columns of one matrix, side by side, have none.

    Where that is too much work to find out, they are taken to.
    """
    if not np.may_share_memory(a, b):
        return False
    try:
        # NOTE: any number is taken, whatever NumPy's stubs say.
        return np.shares_memory(a, b, max_work=10_000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def fitting(op: str, shape: Shape, dtype: np.dtype[Any], out: Array | None) -> Array:
    """Return `out`, or a fresh array where it is None, for an output of that shape and dtype.

    Raises ShapeError or InvalidValue with both sides named when `out` does not fit.
    """
    if out is None:
        return aligned_empty(shape, dtype)
    if not isinstance(out, np.ndarray) or out.dtype != dtype:
        seen = out.dtype if isinstance(out, np.ndarray) else type(out).__name__
        raise InvalidValue(f"{op}'s out must be an ndarray of {dtype}, got {seen}")
    if out.shape != shape:
        raise ShapeError(f"{op}'s out must have shape {shape}, got {out.shape}")
    if not out.flags.writeable:
        raise InvalidValue(f"{op}'s out is read-only: pass a writable array")
    return out


def flat_pass(
    op: str,
    loop: Callable[..., Any],
    arrays: tuple[Array, ...],
    out: Array | None,
    **params: Any,
) -> Array:
    """Run a compiled one-dimensional `loop(*inputs, output)` over C-contiguous arrays of any rank.

    `out` may have any strides, and may be one of the inputs.
    """
    result = destination(op, arrays, out, **params)
    target = result if out is None else _target(result, arrays)
    loop(*[a.reshape(-1) for a in arrays], target.reshape(-1))
    if target is not result:
        result[...] = target
    return result


def _target(out: Array, arrays: tuple[Array, ...]) -> Array:
    """Return where a loop may write at once: `out`, unless its strides or an overlap forbid it."""
    if out.flags.c_contiguous and not _partly_overlaps(out, arrays):
        return out
    return np.empty(out.shape, out.dtype)


def _partly_overlaps(out: Array, arrays: tuple[Array, ...]) -> bool:
    """Say whether writing `out` in order could overwrite an input not read yet."""
    # NOTE: asking NumPy for an address takes microseconds, so the cheap questions come first.
    shared = [a for a in arrays if a is not out and np.may_share_memory(out, a)]
    return any(a.ctypes.data != out.ctypes.data for a in shared)
