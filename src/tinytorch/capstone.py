"""tinytorch.capstone: another name for tinytorch.olympics."""

from tinytorch.olympics import *  # noqa: F403
from tinytorch.olympics import __all__ as __all__
