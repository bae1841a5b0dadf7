"""Rungs that are fused expressions: bring the arrays into the one shape that they are compiled for.

A fused function is compiled for types and ranks, and here for contiguous memory: whatever a kernel
is given becomes vectors, or rows of the last axis, so that a ladder costs one compilation a dtype.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch import ops
from tinytorch.fuse import Fused
from tinytorch.kernels.outputs import destination, destinations
from tinytorch.ops.spec import Array, Shape, Shapes
from tinytorch.ops.verify import expected_dtype


def fused_elements(
    op: str,
    function: Fused,
    arrays: tuple[Array, ...],
    out: Any,
    numbers: tuple[Any, ...] = (),
    **params: Any,
) -> Any:
    """Run a fused function of vectors over arrays of one shape; `numbers` follow the arrays.

    Any strides are taken, by way of a copy; `out` is as the op has it, checked, and may be an
    input. Raises what `destination` raises.
    """
    shapes = _checked(op, arrays, out, params)
    flat = tuple(_dense(a).reshape(-1) for a in arrays)
    return _run(op, function, (*flat, *numbers), shapes, (-1,), out)


def fused_rows(
    op: str,
    function: Fused,
    arrays: tuple[Array, ...],
    vectors: tuple[Array, ...],
    out: Any,
    numbers: tuple[Any, ...] = (),
    **params: Any,
) -> Any:
    """Run a fused function of (rows, C) arrays and vectors (C,) over arrays of one shape (..., C).

    As `fused_elements`; arrays of several shapes are what the op's own shape check is for.
    """
    shapes = _checked(op, (*arrays, *vectors), out, params)
    if not arrays[0].size:
        return _untouched(op, (*arrays, *vectors), shapes, out)
    width = arrays[0].shape[-1]
    flat = tuple(_dense(a).reshape(-1, width) for a in arrays)
    dense = tuple(_dense(v) for v in vectors)
    return _run(op, function, (*flat, *dense, *numbers), shapes, (-1, width), out)


def fused_total(op: str, function: Fused, arrays: tuple[Array, ...], out: Any) -> Any:
    """Run a fused function of vectors whose result is one number; over nothing it is 0."""
    result = destination(op, arrays, out)
    flat = tuple(_dense(a).reshape(-1) for a in arrays)
    result[...] = function(*flat) if flat[0].size else 0
    return result


def _checked(op: str, arrays: tuple[Array, ...], out: Any, params: dict[str, Any]) -> Shapes:
    described = ops.get(op)
    if out is not None:
        (destination if described.outputs == 1 else destinations)(op, arrays, out, **params)
    return described.output_shapes(tuple(a.shape for a in arrays), params)


def _dense(array: Array) -> Array:
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def _untouched(op: str, arrays: tuple[Array, ...], shapes: Shapes, out: Any) -> Any:
    if out is not None:
        return out
    dtype = expected_dtype(ops.get(op), arrays)
    made = tuple(np.zeros(shape, dtype) for shape in shapes)
    return made if len(made) > 1 else made[0]


def _run(
    op: str, function: Fused, given: tuple[Any, ...], shapes: Shapes, flat: Shape, out: Any
) -> Any:
    """Call the function, whose results have the shape `flat`, and return them as the op does."""
    if not math.prod(shapes[0]):
        return _untouched(op, given[:1], shapes, out)
    if out is None:
        made = function(*given)
        if len(shapes) == 1:
            return made.reshape(shapes[0])
        return tuple(one.reshape(shape) for one, shape in zip(made, shapes, strict=True))
    wanted = (out,) if len(shapes) == 1 else out
    targets = tuple(_target(one, flat, given) for one in wanted)
    function(*given, out=targets[0] if len(shapes) == 1 else targets)
    for one, target in zip(wanted, targets, strict=True):
        if not one.flags.c_contiguous:
            one[...] = target.reshape(one.shape)
    return out


def _target(out: Array, flat: Shape, given: tuple[Any, ...]) -> Array:
    """Return where a function may write: `out` in the shape `flat`, or memory in its place."""
    if not out.flags.c_contiguous:
        out = np.empty(out.shape, out.dtype)
    target = out.reshape(flat)
    # NOTE: the very array that is an input, where it is one: that is told at a glance.
    same = (a for a in given if a is out or (isinstance(a, np.ndarray) and a.base is out))
    return next((a for a in same if a.shape == target.shape), target)
