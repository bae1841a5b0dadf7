"""Machine code that Python calls as it calls C: objects come as addresses, and are read in place.

Numba's own entry finds out the types of the arguments, looks for the form compiled for them and
copies each array's description: a microsecond and more, longer than a product of 24 x 24 takes. A
function made here is a built-in one, whose code looks at the few fields that it needs. Where those
lie is part of NumPy's C interface (`PyArrayObject_fields`), and looked at once before it is relied
on.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

# In words of 8 bytes: what every object begins with, which ends with its type; then come an array's
# data, rank, shape, strides, base, dtype and flags.
HEADER = object.__basicsize__ // 8
TYPE, DATA, RANK, SHAPE, STRIDES, DTYPE, FLAGS = (
    HEADER + place for place in (-1, 0, 1, 2, 3, 5, 6)
)
# Rank and flags are half a word each.
HALF = 0xFFFFFFFF
ALIGNED, WRITEABLE = 0x100, 0x400

_VECTORCALL = 0x80  # METH_FASTCALL: (self, arguments, count)


class _Method(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


# NOTE: kept for ever: a built-in function refers to its description.
_METHODS: list[_Method] = []


def builtin(name: str, address: int, state: NDArray[np.int64]) -> Callable[..., Any]:
    """Return the C function at `address` as a Python function that takes positional arguments.

    It is called with the address of `state` (an array object), that of the arguments' addresses,
    and their count, holds the GIL, and returns the address of an object that it owns a share of.
    """
    method = _Method(name.encode(), address, _VECTORCALL, None)
    _METHODS.append(method)
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.argtypes = [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
    make.restype = ctypes.py_object
    made: Callable[..., Any] = make(ctypes.addressof(method), state, None)
    return made


def counts_reference() -> int:
    """Return the address of CPython's Py_IncRef."""
    return ctypes.cast(ctypes.pythonapi.Py_IncRef, ctypes.c_void_p).value or 0


def arrays_lie_as_expected() -> bool:
    """Say whether an array's fields are where compiled code looks for them."""
    if ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    array = np.zeros((3, 5), np.float64)[:, 1:4]
    words = (ctypes.c_int64 * (FLAGS + 1)).from_address(id(array))
    if words[TYPE] != id(np.ndarray) or words[RANK] & HALF != array.ndim:
        return False
    pairs = ((SHAPE, array.shape), (STRIDES, array.strides))
    return (
        words[DATA] == array.ctypes.data
        and words[DTYPE] == id(np.dtype(np.float64))
        and words[FLAGS] & HALF == array.flags.num
        and all(tuple((ctypes.c_int64 * 2).from_address(words[p])) == seen for p, seen in pairs)
    )
