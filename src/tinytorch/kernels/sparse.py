"""Sparse weights: `csr` and `blocks` make one of a dense weight, `sparse_linear` multiplies by it.

Only what is not zero is kept and multiplied: single weights (compressed rows of W.T, an output
each), or blocks of R outputs by W inputs. A single weight costs four bytes for where it stands
beside four for itself, and a load for every multiply-add; a block shares both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch.errors import InvalidValue, ShapeError, UnsupportedInput
from tinytorch.kernels.outputs import aligned_empty, fitting
from tinytorch.native.sparse import product
from tinytorch.native.sparse.tile import ROWS
from tinytorch.ops.sparse_linear import dense_of
from tinytorch.ops.spec import Array

_MOST_INPUTS = 1 << 31


@dataclass(frozen=True)
class SparseWeight:
    """What is not zero in a weight (K inputs, N outputs), float32, and where it stands.

    values: (P, W, R), a block's weights input by input; columns: (P,) int32, a block's first input;
    starts: int64, each row of blocks' first block, and P. Blocks stand row by row (R outputs each),
    in the order of their inputs; what they hold beyond the last output is 0. Make it with `csr` or
    `blocks`.
    """

    values: Array
    columns: Array
    starts: Array
    shape: tuple[int, int]

    @property
    def block(self) -> tuple[int, int]:
        """The outputs and the inputs of a block: (1, 1) for CSR."""
        return self.values.shape[2], self.values.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of the values and of where they stand."""
        return self.values.nbytes + self.columns.nbytes + self.starts.nbytes

    @property
    def sparsity(self) -> float:
        """The share of weights that are zero, 0 to 1, those kept inside blocks included."""
        size = self.shape[0] * self.shape[1]
        return 1 - np.count_nonzero(self.values) / size if size else 0.0

    @property
    def kept(self) -> float:
        """The share of weights that is kept and multiplied; zeros inside blocks are."""
        size = self.shape[0] * self.shape[1]
        return self.values.size / size if size else 0.0

    def dense(self) -> Array:
        """Return the weight with its zeros."""
        K, N = self.shape
        return np.ascontiguousarray(dense_of(self.values, self.columns, self.starts, K)[:, :N])


def _checked(weight: Any) -> Array:
    dense = np.asarray(weight, np.float32)
    if dense.ndim != 2:
        raise ShapeError(f"a sparse weight is made of (inputs, outputs), got {dense.shape}")
    if dense.shape[0] >= _MOST_INPUTS:
        raise InvalidValue(f"a sparse weight has fewer than 2**31 inputs, got {dense.shape[0]}")
    return dense


def csr(weight: Any) -> SparseWeight:
    """Keep each weight that is not 0 of a dense weight (inputs, outputs), float32."""
    return blocks(weight, (1, 1))


def blocks(weight: Any, block: tuple[int, int]) -> SparseWeight:
    """Keep each block that is not all 0 of a dense weight (inputs, outputs), float32.

    block: (R outputs, W inputs), from the first of each on; R is 1, 2, 4 or 8. Blocks at the end of
    the inputs begin as early as they must to end there, and hold 0 for what is kept before; fewer
    inputs than W make narrower blocks. Raises ShapeError or InvalidValue.
    """
    dense = _checked(weight)
    K, N = dense.shape
    R, W = block
    if R not in ROWS or W < 1:
        raise InvalidValue(
            f"a block spans {', '.join(map(str, ROWS))} outputs and 1 input or more, got {block!r}"
        )
    W = min(W, max(K, 1))
    high, wide = -(-N // R), -(-K // W)
    cut = np.zeros((high * R, wide * W), np.float32)
    cut[:N, :K] = dense.T
    tiles = cut.reshape(high, R, wide, W).transpose(0, 2, 3, 1)
    rows, across = np.nonzero((tiles != 0).any(axis=(2, 3)))
    values = np.ascontiguousarray(tiles[rows, across])
    over = wide * W - K
    if over:  # the last blocks begin `over` inputs earlier
        last = across == wide - 1
        values[last] = np.roll(values[last], over, axis=1)
    columns = np.minimum(across * W, K - W).astype(np.int32)
    starts = np.zeros(high + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=high), out=starts[1:])
    return SparseWeight(values, columns, starts, (K, N))


def sparse_linear(
    x: Array, weight: SparseWeight, bias: Array | None = None, out: Array | None = None
) -> Array:
    """Return x @ weight + bias for x (..., K), float32; written to `out` if given.

    bias (N,) float32. The order of each sum is that of its blocks, whatever the number of threads.
    Raises ShapeError, InvalidValue or UnsupportedInput for what does not fit.
    """
    K, N = weight.shape
    if x.dtype != np.float32 or (bias is not None and bias.dtype != np.float32):
        raise UnsupportedInput(
            f"sparse_linear takes float32; got x of {x.dtype}"
            + ("" if bias is None else f", bias of {bias.dtype}")
        )
    if not x.ndim or x.shape[-1] != K:
        raise ShapeError(f"expected rows of {K} inputs, got shape {x.shape}")
    if bias is not None and bias.shape != (N,):
        raise ShapeError(f"sparse_linear's bias must have shape {(N,)}, got {bias.shape}")
    result = fitting("sparse_linear", (*x.shape[:-1], N), np.dtype(np.float32), out)
    return into(result, x, (weight.values, weight.columns, weight.starts), bias)


def into(
    result: Array, x: Array, weight: tuple[Array, Array, Array], bias: Array | None = None
) -> Array:
    """Write the product into `result` (..., N), which may overlap x, and return it.

    weight: values, columns and starts as SparseWeight has them, contiguous and in bounds.
    """
    N, R = result.shape[-1], weight[0].shape[2]
    padded = np.zeros(-(-N // R) * R, np.float32)
    if bias is not None:
        padded[:N] = bias
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
    if x.shape[-1] and rows.strides[1] != rows.itemsize:
        rows = np.ascontiguousarray(rows)
    target = result
    if not result.flags.c_contiguous or np.may_share_memory(result, x):
        target = aligned_empty(result.shape, result.dtype)
    product.multiply(rows, weight, padded, target.reshape(len(rows), N))
    if target is not result:
        result[...] = target
    return result
