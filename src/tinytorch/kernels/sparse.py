"""Products with a sparse weight: x @ W, where only what is not zero in W is kept and multiplied.

W (K, N) is kept output by output (compressed columns). Activations are turned so that a weight
meets a whole vector of rows: four weights at a time are multiplied into a block of outputs that
stays in the first-level cache. Work falls with the weights that are left; what does not fall is
the reading of x for each of them, so a dense product of the same FLOPs is faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.kernels.outputs import aligned_empty
from tinytorch.native.codecache import jit, prange
from tinytorch.ops.spec import Array

# Rows that pass over the weights at a time: 256 rows of 384 activations are 384 KiB.
_BLOCK = 256
_MOST_ROWS = 1 << 31


@jit(parallel=True)
def _multiply(values, rows, starts, bias, x_turned, out_turned):
    """Write (x @ W + bias), turned: x_turned is (K, M), out_turned (N, M)."""
    outputs, M = out_turned.shape
    for n in prange(outputs):
        first, last = starts[n], starts[n + 1]
        whole = last - (last - first) % 4
        for m0 in range(0, M, _BLOCK):
            m1 = min(m0 + _BLOCK, M)
            out = out_turned[n, m0:m1]
            out[:] = bias[n]
            for p in range(first, whole, 4):
                x0 = x_turned[rows[p], m0:m1]
                x1 = x_turned[rows[p + 1], m0:m1]
                x2 = x_turned[rows[p + 2], m0:m1]
                x3 = x_turned[rows[p + 3], m0:m1]
                w0, w1, w2, w3 = values[p], values[p + 1], values[p + 2], values[p + 3]
                for j in range(m1 - m0):
                    out[j] += (w0 * x0[j] + w1 * x1[j]) + (w2 * x2[j] + w3 * x3[j])
            for p in range(whole, last):
                x0 = x_turned[rows[p], m0:m1]
                w0 = values[p]
                for j in range(m1 - m0):
                    out[j] += w0 * x0[j]


@dataclass(frozen=True)
class SparseWeight:
    """What is not zero in a weight (K, N), float32, output by output, and where it stands."""

    values: Array
    rows: Array
    starts: Array
    shape: tuple[int, int]

    @classmethod
    def of(cls, weight: Any) -> SparseWeight:
        """Compress a dense weight (inputs, outputs)."""
        dense = np.asarray(weight, np.float32)
        if dense.ndim != 2:
            raise ShapeError(f"a sparse weight is made of (inputs, outputs), got {dense.shape}")
        if dense.shape[0] >= _MOST_ROWS:
            raise InvalidValue(f"a sparse weight has fewer than 2**31 inputs, got {dense.shape[0]}")
        turned = dense.T
        outputs, inputs = np.nonzero(turned)
        starts = np.zeros(dense.shape[1] + 1, np.int64)
        np.cumsum(np.bincount(outputs, minlength=dense.shape[1]), out=starts[1:])
        return cls(turned[outputs, inputs], inputs.astype(np.int32), starts, dense.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the values and of where they stand."""
        return self.values.nbytes + self.rows.nbytes + self.starts.nbytes

    @property
    def sparsity(self) -> float:
        """The share of zeros, 0 to 1."""
        size = self.shape[0] * self.shape[1]
        return 1 - self.values.size / size if size else 0.0

    def dense(self) -> Array:
        """Return the weight with its zeros."""
        turned = np.zeros(self.shape[::-1], np.float32)
        outputs = np.repeat(np.arange(self.shape[1]), np.diff(self.starts))
        turned[outputs, self.rows] = self.values
        return np.ascontiguousarray(turned.T)

    def multiply(self, x: Array, bias: Array | None = None) -> Array:
        """Return x @ W + bias for x (M, K), float32; the order of each sum is that of K."""
        if x.ndim != 2 or x.shape[1] != self.shape[0]:
            raise ShapeError(f"expected rows of {self.shape[0]} inputs, got shape {x.shape}")
        if bias is None:
            bias = np.zeros(self.shape[1], np.float32)
        turned = aligned_empty((self.shape[1], len(x)), np.dtype(np.float32))
        x_turned = np.ascontiguousarray(np.asarray(x, np.float32).T)
        _multiply(self.values, self.rows, self.starts, bias, x_turned, turned)
        return np.ascontiguousarray(turned.T)
