"""Compiled functions from disk, without what only compiling needs.

Before Numba looks a function up in its cache it loads all that it could compile with: half its
modules, and SciPy where that is installed, for half a second and more; and when a function is
declared it makes the folder where that could be kept. A function that is there as machine code
needs Numba's runtime, and nothing else of that; the rest is loaded when one is missing (by Numba
itself: a compilation begins with it).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core import config, entrypoints, errors, types
from numba.core.caching import FunctionCache
from numba.core.ccallback import CFunc
from numba.core.registry import CPUDispatcher
from numba.core.runtime import rtsys
from numba.np import numpy_support


class _Forms(FunctionCache):  # type: ignore[misc]
    """The compiled forms of one function on disk."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the form for a signature, or None where it isn't there."""
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            found = self._load_overload(sig, target_context)
        if found is None:
            entrypoints.init_all()
        return found


class _Kept:
    """The forms of one function in a folder, which is made when they are first asked for."""

    def __init__(self, function: Callable[..., Any], place: str) -> None:
        self._function, self._place = function, place

    @functools.cached_property
    def _forms(self) -> _Forms:
        before = config.CACHE_DIR
        config.CACHE_DIR = self._place
        try:
            return _Forms(self._function)
        finally:
            config.CACHE_DIR = before

    def __getattr__(self, name: str) -> Any:
        return getattr(self._forms, name)


class _Function(CPUDispatcher):  # type: ignore[misc]
    """A function of `numba.njit` that is looked for on disk before it is compiled."""

    def _compilation_chain_init_hook(self) -> None:
        """Leave Numba's extensions until something is compiled."""

    def typeof_pyval(self, val: Any) -> Any:
        """Return the type of an argument; of an array, without loading masked ones to compare."""
        if type(val) is np.ndarray:
            try:
                dtype = numpy_support.from_dtype(val.dtype)
            except errors.NumbaNotImplementedError:
                return super().typeof_pyval(val)
            layout = numpy_support.map_layout(val)
            found = types.Array(dtype, val.ndim, layout, readonly=not val.flags.writeable)
            self._types_active_call.add(found)
            return found
        return super().typeof_pyval(val)


def keep(dispatcher: Any, place: str) -> None:
    """Have a function of `numba.njit` looked for in a folder before it is compiled, and kept."""
    dispatcher.__class__ = _Function
    dispatcher._cache = _Kept(dispatcher.py_func, place)


def callback(
    function: Callable[..., Any], signature: Any, options: dict[str, Any], place: str | None
) -> Any:
    """Return what `numba.cfunc` does, looked for in a folder first and kept there, if any."""
    made: Any = CFunc(function, (signature.args, signature.return_type), {}, options)
    if place is not None:
        made._cache = _Kept(function, place)
    made.compile()
    return made
