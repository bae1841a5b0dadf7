"""tinytorch.core.acceleration: another name for tinytorch.perf.acceleration."""

from __future__ import annotations

import importlib
from typing import Any

_HOME = "tinytorch.perf.acceleration"


def __getattr__(name: str) -> Any:
    """Return a public name of the module that this one stands for."""
    # NOTE: looked up when it is asked for, because perf stands above core and imports it.
    home = importlib.import_module(_HOME)
    if name not in ("__all__", *home.__all__):
        raise AttributeError(f"{_HOME} has no public name {name!r}")
    return getattr(home, name)


def __dir__() -> list[str]:
    return sorted(importlib.import_module(_HOME).__all__)
