"""Every operation that can be fused: how it is written in emitted code, and what it costs.

`sources` gives the Python text by dtype kind ('f' float, 'i' and 'u' integers, 'b' bool): {0}, {1},
{2} are the operands, {s} their NumPy type and {t} the result's. The names it uses are those that
emitted files import: `vmath`, `trig`, `loops` and `math`. FLOPs follow the roofline's habit: one
for each arithmetic operation, and for a function what its polynomial takes, to the nearest ten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Operation:
    """One elementwise operation. `heavy`: worth keeping rather than computing twice."""

    sources: Mapping[str, str]
    flops: int = 1
    heavy: bool = False


def _each(kinds: str, source: str) -> dict[str, str]:
    return dict.fromkeys(kinds, source)


def _float(source: str, flops: int = 1, heavy: bool = False) -> Operation:
    return Operation({"f": source}, flops, heavy)


def _arithmetic(symbol: str, on_bools: str | None) -> Operation:
    # NOTE: Numba widens small integers to int64; the cast brings NumPy's wrapping back.
    sources = {"f": f"{{0}} {symbol} {{1}}", **_each("iu", f"{{t}}({{0}} {symbol} {{1}})")}
    return Operation(sources | ({"b": on_bools} if on_bools else {}))


def _comparison(symbol: str) -> Operation:
    return Operation(_each("fiub", f"{{0}} {symbol} {{1}}"))


def _bitwise(symbol: str, on_bools: str) -> Operation:
    return Operation({**_each("iu", f"{{t}}({{0}} {symbol} {{1}})"), "b": on_bools})


_BOTH, _EITHER, _DIFFER = (f"loops.{name}({{0}}, {{1}})" for name in ("both", "either", "differ"))
_OPPOSITE = "loops.differ({0}, True)"

OPERATIONS: dict[str, Operation] = {
    "add": _arithmetic("+", _EITHER),
    "subtract": _arithmetic("-", None),
    "multiply": _arithmetic("*", _BOTH),
    "divide": _float("{0} / {1}"),
    "floor_divide": Operation(
        {
            "f": "loops.floor_divide({0}, {1})",
            "i": "{t}(loops.floor_divide_signed({0}, {1}))",
            "u": "{t}(loops.floor_divide_unsigned({0}, {1}))",
        },
        flops=4,
        heavy=True,
    ),
    "remainder": Operation(
        {
            "f": "loops.remainder({0}, {1})",
            "i": "{t}(loops.remainder_signed({0}, {1}))",
            "u": "{t}(loops.remainder_unsigned({0}, {1}))",
        },
        flops=4,
        heavy=True,
    ),
    "power": _float("{0} ** {1}", 60, True),
    "negative": Operation({"f": "-{0}", **_each("iu", "{t}(-{0})")}),
    "positive": Operation(_each("fiu", "{0}"), flops=0),
    "absolute": Operation(
        {
            "f": "abs({0})",
            "i": "loops.choose({0} < 0, {t}(-{0}), {0})",
            **_each("ub", "{0}"),
        }
    ),
    "square": Operation({"f": "{0} * {0}", **_each("iu", "{t}({0} * {0})")}),
    "reciprocal": _float("{t}(1.0) / {0}"),
    "sqrt": _float("loops.sqrt({0})"),
    "floor": Operation({"f": "loops.floor({0})", **_each("iub", "{0}")}),
    "ceil": Operation({"f": "loops.ceil({0})", **_each("iub", "{0}")}),
    "trunc": Operation({"f": "loops.trunc({0})", **_each("iub", "{0}")}),
    "rint": _float("loops.rint({0})"),
    "sign": Operation(
        {
            "f": "loops.sign({0})",
            "i": "{t}(loops.choose({0} > 0, 1, loops.choose({0} < 0, -1, 0)))",
            "u": "{t}({0} > 0)",
        }
    ),
    "copysign": _float("loops.copysign({0}, {1})"),
    "maximum": Operation(
        {
            "f": "loops.choose(loops.either({0} >= {1}, {0} != {0}), {0}, {1})",
            **_each("iu", "loops.choose({0} > {1}, {0}, {1})"),
            "b": _EITHER,
        }
    ),
    "minimum": Operation(
        {
            "f": "loops.choose(loops.either({0} <= {1}, {0} != {0}), {0}, {1})",
            **_each("iu", "loops.choose({0} < {1}, {0}, {1})"),
            "b": _BOTH,
        }
    ),
    "where": Operation(_each("fiub", "loops.choose({0}, {1}, {2})")),
    "less": _comparison("<"),
    "less_equal": _comparison("<="),
    "greater": _comparison(">"),
    "greater_equal": _comparison(">="),
    "equal": _comparison("=="),
    "not_equal": _comparison("!="),
    "logical_and": Operation({"b": _BOTH}),
    "logical_or": Operation({"b": _EITHER}),
    "logical_xor": Operation({"b": _DIFFER}),
    "logical_not": Operation({"b": _OPPOSITE}),
    "bitwise_and": _bitwise("&", _BOTH),
    "bitwise_or": _bitwise("|", _EITHER),
    "bitwise_xor": _bitwise("^", _DIFFER),
    "invert": Operation({**_each("iu", "{t}(~{0})"), "b": _OPPOSITE}),
    "isnan": _float("{0} != {0}"),
    "isinf": _float("abs({0}) == {s}(np.inf)"),
    "isfinite": _float("abs({0}) < {s}(np.inf)"),
    "exp": _float("vmath.exp({0})", 20, True),
    "exp_nonpositive": _float("vmath.exp_nonpositive({0})", 20, True),
    "one_plus_exp": _float("vmath.one_plus_exp({0})", 20, True),
    "one_plus_tanh": _float("vmath.one_plus_tanh({0})", 20, True),
    "expm1": _float("vmath.expm1({0})", 20, True),
    "log": _float("vmath.log({0})", 20, True),
    "log1p": _float("vmath.log1p({0})", 30, True),
    "tanh": _float("vmath.tanh({0})", 20, True),
    "erf": _float("vmath.erf({0})", 40, True),
    "sin": _float("trig.sin({0})", 30, True),
    "cos": _float("trig.cos({0})", 30, True),
    "arcsin": _float("trig.arcsin({0})", 20, True),
    # Scalar calls into the C library: right, and slow.
    **{
        name: _float(f"math.{call}({{0}})", 40, True)
        for name, call in {
            "tan": "tan",
            "arccos": "acos",
            "arctan": "atan",
            "sinh": "sinh",
            "cosh": "cosh",
            "arcsinh": "asinh",
            "arccosh": "acosh",
            "arctanh": "atanh",
        }.items()
    },
    **{name: _float(f"np.{name}({{0}})", 40, True) for name in ("log2", "log10", "exp2", "cbrt")},
    "arctan2": _float("math.atan2({0}, {1})", 60, True),
    "hypot": _float("math.hypot({0}, {1})", 60, True),
}

# What holds for moderate operands only (`trig.limit`), and what serves the others.
LIMITED = {"sin": "math.sin({0})", "cos": "math.cos({0})"}

# NumPy has two names for some.
SYNONYMS = {"true_divide": "divide", "bitwise_not": "invert", "fabs": "absolute"}

# How a reduction starts and steps: {0} is the running value, {1} the next element.
_SUM = {"f": "loops.plus({0}, {1})", **_each("iu", "{t}({0} + {1})")}
_PRODUCT = {"f": "loops.times({0}, {1})", **_each("iu", "{t}({0} * {1})")}
_LARGEST = {"f": "loops.larger({0}, {1})", **OPERATIONS["maximum"].sources}
_LARGEST["f"] = "loops.larger({0}, {1})"
_SMALLEST = {**OPERATIONS["minimum"].sources, "f": "loops.smaller({0}, {1})"}


@dataclass(frozen=True)
class Reduction:
    """One fold. `argument` names the fold whose winner's place is wanted (argmax: max)."""

    steps: Mapping[str, str]
    argument: str | None = None


REDUCTIONS: dict[str, Reduction] = {
    "sum": Reduction(_SUM),
    "prod": Reduction(_PRODUCT),
    "max": Reduction(_LARGEST),
    "min": Reduction(_SMALLEST),
    "any": Reduction({"b": _EITHER}),
    "all": Reduction({"b": _BOTH}),
    "argmax": Reduction({}, "max"),
    "argmin": Reduction({}, "min"),
}


def identity(reduction: str, dtype: np.dtype[Any]) -> float | int | bool:
    """Return what a reduction starts from."""
    if reduction in ("sum", "any"):
        return False if dtype.kind == "b" else 0
    if reduction in ("prod", "all"):
        return True if dtype.kind == "b" else 1
    lowest = reduction in ("max", "argmax")
    if dtype.kind == "f":
        return -np.inf if lowest else np.inf
    if dtype.kind == "b":
        return not lowest
    limits = np.iinfo(dtype)
    return int(limits.min if lowest else limits.max)
