"""Run emitted source without compiling it, element by element in Python, with NumPy's scalars.

Compiling costs a second a program, running it this way some milliseconds; and the steps before the
compiler (tracing, types, simplification, schedule, names, loops) are where a program can go wrong
in a way of its own. What the compiler makes of a program is tried on fewer.
"""

from __future__ import annotations

import math
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


def _load(array: Any, index: Any, unit: bool, scope: int, scopes: int) -> Any:
    assert array.ndim == len(index) and 0 <= scope < scopes
    assert all(0 <= i < n for i, n in zip(index, array.shape, strict=True)), "reads out of bounds"
    return array[index]


def _store(array: Any, index: Any, value: Any, unit: bool, scope: int, scopes: int) -> None:
    assert array.ndim == len(index) and 0 <= scope < scopes
    assert all(0 <= i < n for i, n in zip(index, array.shape, strict=True)), "writes out of bounds"
    array[index] = value


def _lead(array: Any, index: Any, count: int) -> int:
    place = array.__array_interface__["data"][0] + array.itemsize * int(index[-1])
    assert array.ndim == len(index) == 1 and place % array.itemsize == 0
    return min(count, -place % 64 // array.itemsize)


LOOPS = SimpleNamespace(
    load=_load,
    store=_store,
    stream=_store,
    lead=_lead,
    settle=lambda: None,
    interleave=lambda count: None,
    prefetch=lambda array, first, count: None,
    choose=lambda condition, yes, no: yes if condition else no,
    both=lambda a, b: a & b,
    either=lambda a, b: a | b,
    differ=lambda a, b: np.bool_(a != b),
    plus=lambda total, value: total + value,
    times=lambda total, value: total * value,
    larger=np.maximum,
    smaller=np.minimum,
    sqrt=np.sqrt,
    floor=np.floor,
    ceil=np.ceil,
    trunc=np.trunc,
    rint=np.rint,
    sign=np.sign,
    copysign=np.copysign,
    floor_divide=np.floor_divide,
    floor_divide_signed=np.floor_divide,
    floor_divide_unsigned=np.floor_divide,
    remainder=np.remainder,
    remainder_signed=np.remainder,
    remainder_unsigned=np.remainder,
)
TRIG = SimpleNamespace(
    sin=np.sin,
    cos=np.cos,
    arcsin=np.arcsin,
    limit=lambda x: type(x)(1e4 if x.dtype == np.float32 else 1e6),
)
VMATH = SimpleNamespace(
    exp=np.exp,
    exp_nonpositive=np.exp,
    one_plus_exp=lambda x: type(x)(1) + np.exp(x),
    one_plus_tanh=lambda x: type(x)(1) + np.tanh(x),
    expm1=np.expm1,
    log=np.log,
    log1p=np.log1p,
    tanh=np.tanh,
    erf=lambda x: type(x)(math.erf(x)),
)
MATH = SimpleNamespace(sin=np.sin, cos=np.cos)


def load_generated(source: str, name: str) -> ModuleType:
    """Take the place of `codecache.load_generated`: the same functions, interpreted."""
    header, mark, functions = source.partition("\n\n\n")
    assert mark and "import loops, trig" in header
    module = ModuleType(name)
    space = {
        "np": np,
        "math": MATH,
        "loops": LOOPS,
        "trig": TRIG,
        "vmath": VMATH,
        "prange": range,
        "jit": lambda **options: lambda function: function,
    }
    module.__dict__.update(space)
    exec(functions, module.__dict__)
    return module


def quiet(fused: Any) -> Any:
    """Return a call of a fused function without warnings of NumPy's scalars."""

    def call(*arguments: Any) -> Any:
        with np.errstate(all="ignore"):
            return fused(*arguments)

    return call
