"""SparseLinear: a linear layer that keeps and multiplies only the weights that are not 0."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tinytorch.core.tensor import Tensor
from tinytorch.errors import ShapeError
from tinytorch.kernels.sparse import blocks, sparse_linear
from tinytorch.measure.clock import Effort, compare, race
from tinytorch.ops.spec import Array
from tinytorch.perf import models
from tinytorch.perf.profiling.timer import checked_count

_EFFORT = Effort(seconds=0.4)
_FIRST_LOOK = Effort(seconds=0.1, min_rounds=5)
# Outputs x inputs of the blocks that a weight is kept in; (1, 1) keeps single ones, which is CSR.
BLOCKS = ((1, 1), (1, 16), (4, 16))
# A format that leaves out less than this share of the weight is not tried.
_WORTH_TRYING = 0.05


class SparseLinear:
    """A pruned linear layer, made from a dense one; it is faster only where enough is 0.

    `sparsify_where_faster` finds out where that is, and which blocks are best.
    """

    def __init__(self, linear: Any, block: tuple[int, int] = (1, 1)) -> None:
        """Take over a layer's weight (inputs, outputs) and bias.

        block: the outputs (1, 2, 4 or 8) and inputs that are kept together; (1, 1) keeps single
        weights. What `block_prune(model, share, (16, 4))` leaves are blocks of (4, 16).
        """
        self.sparse = blocks(models.array_in(linear.weight), block)
        self.in_features, self.out_features = map(int, self.sparse.shape)
        bias = getattr(linear, "bias", None)
        self._bias = None if bias is None else np.array(models.array_in(bias), np.float32)

    @property
    def sparsity(self) -> float:
        """The share of zeros, 0 to 1."""
        return self.sparse.sparsity

    @property
    def format(self) -> str:
        """How the weight is kept: "CSR", or blocks as "4x16" (outputs x inputs)."""
        return format_name(self.sparse.block)

    @property
    def bias(self) -> Tensor | None:
        """The bias."""
        return None if self._bias is None else Tensor(self._bias)

    def __call__(self, x: Any) -> Any:
        """Return forward(x)."""
        return self.forward(x)

    def __repr__(self) -> str:
        sizes = f"{self.in_features}, {self.out_features}"
        return f"SparseLinear({sizes}, {self.sparsity:.1%} zeros, {self.format})"

    def forward(self, x: Any) -> Any:
        """Return x @ W + b for x (..., inputs), float32; no gradient is recorded."""
        given: Array = np.asarray(x.data if isinstance(x, Tensor) else x, np.float32)
        if not given.ndim or given.shape[-1] != self.in_features:
            raise ShapeError(
                f"SparseLinear takes inputs of width {self.in_features}, got shape {given.shape}"
            )
        result = sparse_linear(given, self.sparse, self._bias)
        return Tensor(result) if isinstance(x, Tensor) else result

    def parameters(self) -> list[Tensor]:
        """Return the weights that are left and the bias, as Tensors that need no gradients."""
        kept = Tensor(self.sparse.values.reshape(-1))
        return [kept, *([] if self._bias is None else [Tensor(self._bias)])]

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


def format_name(block: tuple[int, int]) -> str:
    """Return "CSR" for single weights, or the outputs x inputs of a block."""
    return "CSR" if block == (1, 1) else "x".join(map(str, block))


def _best(layer: Any, x: Any) -> SparseLinear:
    """Return a layer in the format that is fastest at a first look; CSR if none is worth one."""
    made = [SparseLinear(layer, block) for block in BLOCKS]
    tried = {one.format: one for one in made if one.sparse.kept <= 1 - _WORTH_TRYING}
    if len(tried) < 2:
        return next(iter(tried.values()), made[0])
    taken = race(
        {name: functools.partial(one.forward, x) for name, one in tried.items()},
        effort=_FIRST_LOOK,
    )
    return tried[min(taken, key=lambda name: taken[name].median)]


def sparsify_where_faster(model: Any, batch: int = 64) -> list[dict[str, Any]]:
    """Time each Linear as it is and as SparseLinear, and replace those that gain, in place.

    Timed in turns on `batch` rows, in the format (CSR, or blocks of 1 x 16 or 4 x 16) that was
    fastest before. Returns a row a layer: path, sparsity, format, kept (the share of weights that
    the format keeps), speedup with its interval, verdict, and replaced (only where the verdict is
    "faster").
    """
    checked_count(batch, "batch", 1)
    rows = []
    for path, layer in list(models.named_layers(model)):
        weight = getattr(layer, "weight", None)
        if type(layer).__name__ != "Linear" or weight is None or not path:
            continue
        x = models.input_for(layer, (batch, int(models.array_in(weight).shape[0])))
        sparse = _best(layer, x)
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
                "format": sparse.format,
                "kept": sparse.sparse.kept,
                "speedup": found.ratio.median,
                "speedup_interval": (found.ratio.low, found.ratio.high),
                "verdict": found.verdict,
                "replaced": replaced,
            }
        )
    return rows
