"""SparseLinear: a linear layer that keeps and multiplies only the weights that are not 0."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tinytorch.core.tensor import Tensor
from tinytorch.errors import ShapeError
from tinytorch.kernels.sparse import SparseWeight
from tinytorch.measure.clock import Effort, compare
from tinytorch.ops.spec import Array
from tinytorch.perf import models
from tinytorch.perf.profiling.timer import checked_count

_EFFORT = Effort(seconds=0.4)


class SparseLinear:
    """A pruned linear layer, made from a dense one; it is faster only where enough is 0.

    `sparsify_where_faster` finds out where that is.
    """

    def __init__(self, linear: Any) -> None:
        """Take over a layer's weight (inputs, outputs) and bias."""
        self.sparse = SparseWeight.of(models.array_in(linear.weight))
        self.in_features, self.out_features = map(int, self.sparse.shape)
        bias = getattr(linear, "bias", None)
        self._bias = None if bias is None else np.array(models.array_in(bias), np.float32)

    @property
    def sparsity(self) -> float:
        """The share of zeros, 0 to 1."""
        return self.sparse.sparsity

    @property
    def bias(self) -> Tensor | None:
        """The bias."""
        return None if self._bias is None else Tensor(self._bias)

    def __call__(self, x: Any) -> Any:
        """Return forward(x)."""
        return self.forward(x)

    def __repr__(self) -> str:
        return f"SparseLinear({self.in_features}, {self.out_features}, {self.sparsity:.1%} zeros)"

    def forward(self, x: Any) -> Any:
        """Return x @ W + b for x (..., inputs), float32; no gradient is recorded."""
        given: Array = np.asarray(x.data if isinstance(x, Tensor) else x, np.float32)
        if not given.ndim or given.shape[-1] != self.in_features:
            raise ShapeError(
                f"SparseLinear takes inputs of width {self.in_features}, got shape {given.shape}"
            )
        result = self.sparse.multiply(given.reshape(-1, self.in_features), self._bias)
        result = result.reshape(*given.shape[:-1], self.out_features)
        return Tensor(result) if isinstance(x, Tensor) else result

    def parameters(self) -> list[Tensor]:
        """Return the weights that are left and the bias, as Tensors that need no gradients."""
        return [Tensor(self.sparse.values), *([] if self._bias is None else [Tensor(self._bias)])]

    def memory_usage(self) -> dict[str, float]:
        """Return original_bytes (dense float32), quantized_bytes (as kept), compression_ratio."""
        bias = 0 if self._bias is None else self._bias.nbytes
        original = 4 * self.in_features * self.out_features + bias
        kept = self.sparse.nbytes + bias
        return {
            "original_bytes": original,
            "quantized_bytes": kept,
            "compression_ratio": original / kept,
        }


def sparsify_where_faster(model: Any, batch: int = 64) -> list[dict[str, Any]]:
    """Time each Linear as it is and as SparseLinear, and replace those that gain, in place.

    Timed in turns on `batch` rows. Returns a row a layer: path, sparsity, speedup with its
    interval, verdict, and replaced (only where the verdict is "faster").
    """
    checked_count(batch, "batch", 1)
    rows = []
    for path, layer in list(models.named_layers(model)):
        weight = getattr(layer, "weight", None)
        if type(layer).__name__ != "Linear" or weight is None or not path:
            continue
        sparse = SparseLinear(layer)
        x = models.input_for(layer, (batch, sparse.in_features))
        found = compare(
            functools.partial(layer.forward, x),
            functools.partial(sparse.forward, x),
            names=("dense", "sparse"),
            effort=_EFFORT,
        )
        replaced = found.verdict == "faster"
        if replaced:
            models.replace_layer(model, path, sparse)
        rows.append(
            {
                "path": path,
                "sparsity": sparse.sparsity,
                "speedup": found.ratio.median,
                "speedup_interval": (found.ratio.low, found.ratio.high),
                "verdict": found.verdict,
                "replaced": replaced,
            }
        )
    return rows
