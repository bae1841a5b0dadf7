"""tinytorch.core.kernels: another name for tinytorch.perf.acceleration."""

from tinytorch.core.acceleration import __dir__, __getattr__  # noqa: F401
