"""tinytorch.bench: another name for tinytorch.perf.benchmarking."""

from tinytorch.perf.benchmarking import *  # noqa: F403
from tinytorch.perf.benchmarking import __all__ as __all__
