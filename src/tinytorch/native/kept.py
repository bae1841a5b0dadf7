"""Compiled functions from disk, without what only compiling needs.

Before Numba looks a function up in its cache it loads all that it could compile with: half its
modules, and SciPy where that is installed, for half a second and more. A function that is there as
machine code needs Numba's runtime, and nothing else of that; the rest is loaded when one is missing
(by Numba itself: a compilation begins with it).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core.caching import FunctionCache
from numba.core.ccallback import CFunc
from numba.core.runtime import rtsys


class _Kept(FunctionCache):  # type: ignore[misc]
    """The compiled forms of one function on disk."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Return the form for a signature, or None where it isn't there."""
        rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            return self._load_overload(sig, target_context)


class _Callback(CFunc):
    """A C callback that is looked for in our folder."""

    _pyfunc: Callable[..., Any]

    def enable_caching(self) -> None:
        self._cache = _Kept(self._pyfunc)


def keep(dispatcher: Any) -> None:
    """Have a function of `numba.njit` looked for on disk before it is compiled, and kept there."""
    dispatcher._cache = _Kept(dispatcher.py_func)


def callback(
    function: Callable[..., Any], signature: Any, options: dict[str, Any], *, cache: bool
) -> Any:
    """Return what `numba.cfunc` does, looked for on disk first and kept there if `cache`."""
    made = _Callback(function, (signature.args, signature.return_type), {}, options)
    if cache:
        made.enable_caching()
    made.compile()
    return made
