"""NumPy expressions become one loop: `from tinytorch.fuse import fuse`."""

from __future__ import annotations

from tinytorch.fuse.compile import Fused, fuse
from tinytorch.fuse.special import erf

__all__ = ["Fused", "erf", "fuse"]
