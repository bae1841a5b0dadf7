"""Low rank: a weight as the product of two thin ones (truncated singular value decomposition)."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue
from tinytorch.ops.spec import Array
from tinytorch.perf.compression.magnitude import checked_matrix, checked_share


def _rank(shape: tuple[int, ...], rank_ratio: float) -> int:
    share = checked_share(rank_ratio, "rank_ratio")
    if share == 0:
        raise InvalidValue("rank_ratio must be over 0: nothing of the matrix would be left")
    return max(1, round(share * min(shape)))


def low_rank_approximate(W: Any, rank_ratio: float = 0.5) -> tuple[Any, Any, Any]:
    """Return (U, S, V) so that U @ diag(S) @ V is the nearest matrix of that rank (Eckart-Young).

    The rank is round(rank_ratio * min(m, n)), at least 1: U (m, rank), S (rank,) falling,
    V (rank, n), in W's form (Tensors or ndarrays), floats in W's dtype.
    """
    matrix = checked_matrix(W, "W")
    rank = _rank(matrix.shape, rank_ratio)
    dtype = matrix.dtype if matrix.dtype.kind == "f" else np.dtype(np.float32)
    U, S, V = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    parts = [part.astype(dtype) for part in (U[:, :rank], S[:rank], V[:rank])]
    if isinstance(W, Tensor):
        parts = [Tensor(part, dtype=dtype) for part in parts]  # type: ignore[misc]
    return parts[0], parts[1], parts[2]


class LowRankLinear:
    """A linear layer as two: x @ first @ second + bias; both halves can be trained further."""

    def __init__(self, linear: Any, rank_ratio: float = 0.5) -> None:
        """Take over a layer's weight (inputs, outputs) and bias, the singular values shared out."""
        U, S, V = low_rank_approximate(np.asarray(linear.weight.data), rank_ratio)
        root = np.sqrt(S)
        self.first = Tensor(U * root, requires_grad=True)
        self.second = Tensor(root[:, None] * V, requires_grad=True)
        self.bias = getattr(linear, "bias", None)

    @property
    def rank(self) -> int:
        """How many numbers stand between input and output."""
        return int(self.first.shape[1])

    def __call__(self, x: Any) -> Any:
        """Return forward(x)."""
        return self.forward(x)

    def forward(self, x: Tensor) -> Tensor:
        """Return x @ first @ second + bias for x (..., inputs)."""
        product = x @ self.first @ self.second
        return product if self.bias is None else product + self.bias

    def parameters(self) -> list[Tensor]:
        """Return both halves and the bias."""
        return [self.first, self.second, *([] if self.bias is None else [self.bias])]


def pays(weight: Array, rank_ratio: float) -> bool:
    """Say whether two halves are fewer numbers than the weight: rank < m n / (m + n)."""
    m, n = weight.shape
    return bool(_rank(weight.shape, rank_ratio) * (m + n) < m * n)
