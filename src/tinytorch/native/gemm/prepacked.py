"""An operand B that was packed beforehand, for products that use it many times.

Packing a weight costs as much as some sixteen rows of the product; a layer that is applied to few
tokens at a time would spend most of its time on it.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinytorch.native.aligned import aligned_empty
from tinytorch.native.codecache import jit
from tinytorch.native.gemm import routines
from tinytorch.native.gemm.entries import view_of
from tinytorch.native.gemm.microkernel import tile_shape
from tinytorch.native.pointers import call, data

Array = NDArray[Any]


@dataclass(frozen=True)
class PackedMatrix:
    """A matrix (K, N) in panels of NR columns, each holding its whole depth step by step.

    `view` has the matrix's shape and the strides from step to step and from panel to panel, as
    compiled code takes them; only its columns 0, NR, 2 NR … are elements.
    """

    view: Array

    @property
    def shape(self) -> tuple[int, int]:
        """(K, N)."""
        return self.view.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self.view.dtype


def _pack(matrix, target, address):
    view = view_of(matrix, 0)
    K, N = matrix.shape
    call(address, view.start, view.column, view.row, N, K, data(target), 1)


@functools.cache
def _compiled() -> Any:
    return jit(_pack)


def pack(matrix: Array) -> PackedMatrix:
    """Return a float32 or float64 matrix (K, N), of any strides, packed as operand B."""
    K, N = matrix.shape
    tile = tile_shape(matrix.dtype)
    step = tile.columns
    # A panel more than there are, so that the view's last element lies inside too.
    panels = aligned_empty((math.ceil(N / step) + 1) * step * max(K, 1), matrix.dtype)
    panels[-step * max(K, 1) :] = 0
    if matrix.size:
        _compiled()(matrix, panels, routines.addresses(matrix.dtype.name)[1])
    item = matrix.itemsize
    view = np.lib.stride_tricks.as_strided(
        panels, (K, N), (step * item, max(K, 1) * item), writeable=False
    )
    return PackedMatrix(view)
