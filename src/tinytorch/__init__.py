"""TinyTorch, with an acceleration system that is real."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Tensor": "tinytorch.core.tensor",
    "set_backend": "tinytorch.backends",
    "get_backend": "tinytorch.backends",
    "use_backend": "tinytorch.backends",
    "set_num_threads": "tinytorch.native.threads",
    "get_num_threads": "tinytorch.native.threads",
    "warmup": "tinytorch.kernels.warm",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that `import tinytorch` stays light."""
    if name not in _HOME:
        raise AttributeError(f"module 'tinytorch' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
