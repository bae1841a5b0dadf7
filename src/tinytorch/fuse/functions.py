"""NumPy functions and methods that are not ufuncs: where, clip, casts, new axes, reductions."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any
from typing import cast as cast_type

import numpy as np

from tinytorch.fuse.arrays import Traced, apply_ufunc, cast, count, expand, operand, typed
from tinytorch.fuse.ir import Node
from tinytorch.fuse.table import REDUCTIONS
from tinytorch.fuse.trace import Number, Recorder, Rules, compute, refuse

_MISSING = np._NoValue


def _common(recorder: Recorder, values: tuple[Any, ...]) -> tuple[list[int], np.dtype[Any]]:
    """Return nodes of the values in the type that NumPy gives them together."""
    operands = [operand(recorder, value) for value in values]
    seen = [recorder.nodes[v].dtype if isinstance(v, int) else type(v.value)(0) for v in operands]
    dtype = np.result_type(*seen)
    return [typed(recorder, value, dtype) for value in operands], dtype


def where(recorder: Recorder, condition: Any, *choices: Any) -> Traced:
    """np.where with three arguments."""
    if len(choices) != 2:
        refuse("np.where without two choices has a result of unknown size", "give three arguments")
    test = operand(recorder, condition)
    places, dtype = _common(recorder, choices)
    yes_or_no = typed(recorder, test, np.dtype(np.bool_))
    return Traced(recorder, recorder.add("where", (yes_or_no, *places), dtype))


def clip(recorder: Recorder, x: Traced, low: Any = None, high: Any = None, **named: Any) -> Traced:
    """np.clip."""
    low, high = named.pop("min", low), named.pop("max", high)
    _no_more(named, "clip")
    bounds = [b for b in (low, high) if b is not None and b is not _MISSING]
    (place, *rest), dtype = _common(recorder, (x, *bounds))
    if low is not None and low is not _MISSING:
        place = recorder.add("maximum", (place, rest.pop(0)), dtype)
    if rest:
        place = recorder.add("minimum", (place, rest[0]), dtype)
    return Traced(recorder, place)


def astype(recorder: Recorder, x: Traced, dtype: Any, **named: Any) -> Traced:
    """Cast; the result is always a value of its own."""
    named.pop("copy", None)
    _no_more(named, "astype")
    return Traced(recorder, recorder.add("cast", (x.place,), np.dtype(dtype)))


def expand_dims(recorder: Recorder, a: Traced, axis: Any) -> Traced:
    """np.expand_dims."""
    axes = [operator.index(i) for i in (axis if isinstance(axis, tuple | list) else (axis,))]
    rank = a.ndim + len(axes)
    return expand(recorder, a, tuple(sorted(i % rank for i in axes)))


def _trailing(x: Traced, axis: Any) -> int:
    """Return how many axes are folded; they must be the last ones."""
    if axis is None or (x.ndim == 0 and axis in (0, -1, ())):
        return x.ndim
    axes = [operator.index(i) for i in (axis if isinstance(axis, tuple | list) else (axis,))]
    for i in axes:
        if not -x.ndim <= i < x.ndim:
            raise np.exceptions.AxisError(i, x.ndim)
    last = set(range(x.ndim - len(axes), x.ndim))
    if {i % x.ndim for i in axes} != last:
        refuse(
            f"a reduction over axis {axis} of {x.ndim} axes is not over the last ones",
            "move the axis to the end before the call",
        )
    return len(axes)


def _fold(recorder: Recorder, name: str, place: int, dtype: Any, axes: int, keep: bool) -> int:
    shape = recorder.nodes[place].shape
    leading = shape[: len(shape) - axes]
    folded = recorder.append(Node(name, (place,), np.dtype(dtype), leading, axes))
    if not keep:
        return folded
    places = tuple(range(len(leading), len(shape)))
    return recorder.append(
        Node("expand", (folded,), np.dtype(dtype), leading + (1,) * axes, places)
    )


def _no_more(named: dict[str, Any], name: str) -> None:
    given = [key for key, value in named.items() if value is not None and value is not _MISSING]
    if given:
        refuse(f"{name} with {', '.join(given)}= is not supported", "leave it out")


def _folds_to(name: str, seen: np.dtype[Any]) -> np.dtype[Any]:
    if name in ("any", "all"):
        return np.dtype(np.bool_)
    if name in ("sum", "prod"):  # NumPy widens small integers
        widened: np.dtype[Any] = np.add.reduce(np.zeros(0, seen)).dtype
        return widened
    return seen


def _reduction(name: str) -> Callable[..., Traced]:
    def reduce(
        recorder: Recorder,
        x: Traced,
        axis: Any = None,
        dtype: Any = None,
        keepdims: Any = False,
        **named: Any,
    ) -> Traced:
        _no_more(named, name)
        if REDUCTIONS[name].argument and isinstance(axis, tuple):
            raise TypeError(f"{name} takes one axis or none, got {axis}")
        axes = _trailing(x, axis)
        if dtype in (None, _MISSING):
            dtype = _folds_to(name, x.dtype)
        place = cast(recorder, x.place, np.dtype(dtype))
        keep = bool(keepdims) and keepdims is not _MISSING
        if REDUCTIONS[name].argument:
            return Traced(recorder, _fold(recorder, name, place, np.intp, axes, keep))
        if axes == 0:
            return Traced(recorder, place).seen_elsewhere()
        return Traced(recorder, _fold(recorder, name, place, dtype, axes, keep))

    return reduce


_sum = _reduction("sum")


def mean(
    recorder: Recorder,
    x: Traced,
    axis: Any = None,
    dtype: Any = None,
    keepdims: Any = False,
    **named: Any,
) -> Traced:
    """Sum over count, integers as float64."""
    _no_more(named, "mean")
    if dtype in (None, _MISSING):
        dtype = x.dtype if x.dtype.kind == "f" else np.float64
    total = _sum(recorder, x, axis, dtype, keepdims)
    divided: Traced = total / count(recorder, x.node.shape[x.ndim - _trailing(x, axis) :])
    return divided


def var(
    recorder: Recorder,
    x: Traced,
    axis: Any = None,
    *,
    ddof: Any = 0,
    correction: Any = None,
    keepdims: Any = False,
    **named: Any,
) -> Traced:
    """The mean squared distance from the mean, in two passes, as NumPy does it."""
    _no_more(named, "var")
    ddof = ddof if correction in (None, _MISSING) else correction
    distance = x - mean(recorder, x, axis, keepdims=True)
    total = _sum(recorder, distance * distance, axis, keepdims=keepdims)
    number = count(recorder, x.node.shape[x.ndim - _trailing(x, axis) :])
    if isinstance(number, Number) or isinstance(ddof, Number):
        number = compute(recorder, lambda n, d: max(n - d, 0), "degrees of freedom", (number, ddof))
    else:
        number = max(number - ddof, 0)
    divided: Traced = total / number
    return divided


def std(recorder: Recorder, x: Traced, axis: Any = None, **named: Any) -> Traced:
    """The root of `var`."""
    root: Any = np.sqrt(var(recorder, x, axis, **named))
    return cast_type(Traced, root)


def round_(recorder: Recorder, a: Traced, decimals: Any = 0, **named: Any) -> Traced:
    """np.round to whole numbers."""
    _no_more(named, "round")
    if operator.index(decimals) != 0:
        refuse("rounding to decimals is not supported", "scale, np.rint, and scale back")
    whole: Any = a if a.dtype.kind in "iu" else np.rint(a)
    return cast_type(Traced, whole)


def filled(value: float) -> Callable[..., Traced]:
    """Return np.zeros_like or np.ones_like."""

    def like(recorder: Recorder, a: Traced, dtype: Any = None, **named: Any) -> Traced:
        return full_like(recorder, a, value, dtype, **named)

    return like


def full_like(recorder: Recorder, a: Traced, value: Any, dtype: Any = None, **named: Any) -> Traced:
    """np.full_like."""
    for key in ("order", "subok"):
        named.pop(key, None)
    _no_more(named, "full_like")
    target = np.dtype(dtype or a.dtype)
    place = typed(recorder, operand(recorder, value), target)
    chosen = recorder.add("equal", (a.place, a.place), np.dtype(np.bool_))
    # NOTE: only its shape is wanted of `a`: both choices are the value.
    return Traced(recorder, recorder.add("where", (chosen, place, place), target))


def copy(recorder: Recorder, a: Traced, **named: Any) -> Traced:
    """np.copy: the same value."""
    return Traced(recorder, a.place).seen_elsewhere()


_REDUCERS = {name: _reduction(name) for name in REDUCTIONS} | {"mean": mean, "var": var, "std": std}
METHODS: dict[str, Callable[..., Any]] = {
    **_REDUCERS,
    "astype": astype,
    "clip": clip,
    "copy": copy,
    "round": round_,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    **_REDUCERS,
    "amax": _REDUCERS["max"],
    "amin": _REDUCERS["min"],
    "where": where,
    "clip": clip,
    "copy": copy,
    "round": round_,
    "around": round_,
    "astype": astype,
    "expand_dims": expand_dims,
    "zeros_like": filled(0),
    "ones_like": filled(1),
    "full_like": full_like,
    "shape": lambda recorder, a: a.shape,
    "ndim": lambda recorder, a: a.ndim,
    "size": lambda recorder, a: a.size,
}


def apply_function(recorder: Recorder, function: Any, args: Any, keywords: Any) -> Any:
    """Record a NumPy function, as `__array_function__` is called."""
    name = function.__name__
    if name not in FUNCTIONS or not function.__module__.startswith("numpy"):
        refuse(f"np.{name} is not supported", "compute it outside the fused function")
    if "a" in keywords and name in (*_REDUCERS, "clip"):
        args, keywords = (keywords.pop("a"), *args), keywords
    return FUNCTIONS[name](recorder, *args, **keywords)


RULES = Rules(apply_ufunc, apply_function, METHODS)
