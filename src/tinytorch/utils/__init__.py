"""tinytorch.utils: where PyTorch programs look for `data`."""

from tinytorch.utils import data

__all__ = ["data"]
