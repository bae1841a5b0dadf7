"""tinytorch.core.spatial: another name for tinytorch.core.convolutions."""

from tinytorch.core.convolutions import *  # noqa: F403
