"""Which kernel runs: named backends, the current one, and backends from a user's own file.

Files in this folder are the list: each ComputeBackend at the top level of a module is one.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import importlib
import pkgutil
from collections.abc import Iterator

from tinytorch import config
from tinytorch.backends.base import ComputeBackend
from tinytorch.errors import InvalidValue, UnknownName

__all__ = ["ComputeBackend", "get", "get_backend", "names", "set_backend", "use_backend"]

_global: ComputeBackend | None = None
_local: contextvars.ContextVar[ComputeBackend | None] = contextvars.ContextVar(
    "tinytorch_backend", default=None
)


@functools.cache
def _shipped() -> dict[str, ComputeBackend]:
    found: dict[str, ComputeBackend] = {}
    for module in pkgutil.iter_modules(__path__):
        loaded = importlib.import_module(f"{__name__}.{module.name}")
        for value in vars(loaded).values():
            if isinstance(value, ComputeBackend):
                found[value.name] = value
    return found


def names() -> tuple[str, ...]:
    """Return the names that `set_backend` takes, sorted; a path to a kernel file is one too."""
    return tuple(sorted(_shipped()))


def get(backend: str | ComputeBackend) -> ComputeBackend:
    """Return a backend by name, by the path of a kernel file (`mine.py`), or as it is.

    A kernel file is verified over its ops' whole suites first: VerificationError when it is wrong.
    """
    if isinstance(backend, ComputeBackend):
        return backend
    if not isinstance(backend, str):
        raise InvalidValue(f"a backend is given by its name, got {type(backend).__name__}")
    if backend.endswith(".py"):
        from tinytorch.backends.userfile import load

        return load(backend)
    if backend not in _shipped():
        raise UnknownName("backend", backend, [*names(), "<your file>.py"])
    return _shipped()[backend]


def get_backend() -> ComputeBackend:
    """Return the backend in use: `use_backend`'s, `set_backend`'s or TINYTORCH_BACKEND's."""
    global _global
    current = _local.get() or _global
    if current is None:
        chosen = config.get("TINYTORCH_BACKEND")
        current = _global = get(chosen if isinstance(chosen, str) else "auto")
    return current


def set_backend(backend: str | ComputeBackend) -> ComputeBackend:
    """Use a backend from now on, in every thread, and return it."""
    global _global
    _global = get(backend)
    return _global


@contextlib.contextmanager
def use_backend(backend: str | ComputeBackend) -> Iterator[ComputeBackend]:
    """Use a backend inside the block, in this thread (or task) only."""
    chosen = get(backend)
    token = _local.set(chosen)
    try:
        yield chosen
    finally:
        _local.reset(token)
