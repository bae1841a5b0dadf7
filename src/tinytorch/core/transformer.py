"""tinytorch.core.transformer: another name for tinytorch.core.transformers."""

from tinytorch.core.transformers import *  # noqa: F403
