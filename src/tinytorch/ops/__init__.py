"""What each op means, costs, and how a result is verified. One op a file; the file is the list."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from tinytorch.errors import UnknownName
from tinytorch.ops.spec import Op

_NOT_OPS = {"spec", "verify", "elementwise", "rows", "windows"}


@functools.cache
def names() -> tuple[str, ...]:
    """Return the names of all ops, sorted."""
    found = (module.name for module in pkgutil.iter_modules(__path__))
    return tuple(sorted(name for name in found if name not in _NOT_OPS))


@functools.cache
def get(name: str) -> Op:
    """Return an op by name; an unknown one is an error that offers the nearest."""
    if name not in names():
        raise UnknownName("op", name, names())
    op: Op = importlib.import_module(f"{__name__}.{name}").OP
    return op
