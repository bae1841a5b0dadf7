"""Plain Python access to two broadcast arrays, for the naive rungs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinytorch.ops.spec import Array


def plain_pairs(x: Array, y: Array) -> Iterator[tuple[Any, Any]]:
    """Yield the elements of x and y, broadcast to one shape, as Python numbers, in C order."""
    wide_x, wide_y = np.broadcast_arrays(x, y)
    return zip(wide_x.ravel().tolist(), wide_y.ravel().tolist(), strict=True)
