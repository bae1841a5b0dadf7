"""Losses: a scalar Tensor that says how far predictions are from targets."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch.core import graph
from tinytorch.core.layers import Layer, as_tensor
from tinytorch.core.operands import cast
from tinytorch.core.rules.losses import BCEBackward, CrossEntropyBackward, MSEBackward
from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.spec import Array

__all__ = [
    "BinaryCrossEntropyLoss",
    "CrossEntropyLoss",
    "MSELoss",
    "binary_cross_entropy",
    "cross_entropy",
    "log_softmax",
    "mse_loss",
]


def log_softmax(x: Any, dim: int = -1) -> Tensor:
    """Return log(softmax(x)) along an axis: x - log(sum(exp(x))), without overflow."""
    return as_tensor(x).log_softmax(dim)


def _scale(count: int, reduction: str, what: str) -> float:
    if reduction not in ("mean", "sum"):
        raise InvalidValue(f"{what}'s reduction must be 'mean' or 'sum', got {reduction!r}")
    if count == 0:
        raise ShapeError(f"{what} of an empty batch: there is nothing to average")
    return 1 / count if reduction == "mean" else 1.0


def _pair(predictions: Any, targets: Any, what: str) -> tuple[Tensor, Tensor]:
    x = as_tensor(predictions)
    t = targets if isinstance(targets, Tensor) else Tensor(targets, dtype=x.dtype)
    if x.shape != t.shape:
        raise ShapeError(
            f"{what} compares element by element: predictions have shape {x.shape}, targets "
            f"{t.shape}"
        )
    return x, cast(t, x.dtype)


def mse_loss(predictions: Any, targets: Any, reduction: str = "mean") -> Tensor:
    """Return the mean of (prediction - target)^2; both of one shape."""
    x, t = _pair(predictions, targets, "MSELoss")
    return graph.apply(MSEBackward, x, t, scale=_scale(x.size, reduction, "MSELoss"))


def binary_cross_entropy(predictions: Any, targets: Any, reduction: str = "mean") -> Tensor:
    """Return the mean of -(t log p + (1 - t) log(1 - p)) for probabilities p in [0, 1].

    Logarithms are kept above -100, so that a certain mistake costs 100 and not infinity.
    """
    p, t = _pair(predictions, targets, "BinaryCrossEntropyLoss")
    scale = _scale(p.size, reduction, "BinaryCrossEntropyLoss")
    for name, x in (("predictions", p), ("targets", t)):
        low, high = x._data.min(), x._data.max()
        if low < 0 or high > 1:
            raise InvalidValue(
                f"BinaryCrossEntropyLoss takes {name} from 0 to 1, got {low:g} to {high:g}: apply "
                "Sigmoid first"
            )
    return graph.apply(BCEBackward, p, t, scale=scale)


def _classes(targets: Any, shape: tuple[int, ...]) -> Array:
    """Return targets as a flat array of class numbers below shape[-1]."""
    raw = np.asarray(getattr(targets, "_data", targets))
    if raw.dtype.kind not in "biuf":
        raise InvalidValue(f"CrossEntropyLoss takes class numbers as targets, got {raw.dtype}")
    if raw.shape != shape[:-1]:
        raise ShapeError(
            f"CrossEntropyLoss takes logits (N, C) and N targets: got shapes {shape} and "
            f"{raw.shape}"
        )
    numbers = raw.astype(np.int64, copy=False).reshape(-1)
    if raw.dtype.kind == "f" and not np.array_equal(numbers, raw.reshape(-1)):
        raise InvalidValue("CrossEntropyLoss takes whole numbers as targets, got fractions")
    return numbers


def cross_entropy(logits: Any, targets: Any, reduction: str = "mean") -> Tensor:
    """Return the mean of -log softmax(logits)[target]: logits (..., C), whole-number targets (...).

    Computed from each row's log-sum-exp, so logits of any finite size are safe.
    """
    x = as_tensor(logits)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ShapeError(f"CrossEntropyLoss takes logits (N, C), got shape {x.shape}")
    numbers = _classes(targets, x.shape)
    count = math.prod(x.shape[:-1])
    scale = _scale(count, reduction, "CrossEntropyLoss") * count
    rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
    return graph.apply(CrossEntropyBackward, rows, labels=numbers, scale=scale)


class _Loss(Layer):
    """What losses share: a reduction, and a call with predictions and targets."""

    def __init__(self, reduction: str = "mean") -> None:
        """Choose "mean" or "sum"."""
        _scale(1, reduction, type(self).__name__)
        self.reduction = reduction


class MSELoss(_Loss):
    """The mean squared error; see `mse_loss`."""

    def forward(self, predictions: Any, targets: Any) -> Tensor:
        """Return a scalar Tensor."""
        return mse_loss(predictions, targets, self.reduction)


class BinaryCrossEntropyLoss(_Loss):
    """Cross-entropy of probabilities with 0/1 targets; see `binary_cross_entropy`."""

    def forward(self, predictions: Any, targets: Any) -> Tensor:
        """Return a scalar Tensor."""
        return binary_cross_entropy(predictions, targets, self.reduction)


class CrossEntropyLoss(_Loss):
    """Cross-entropy of logits (N, C) with class numbers (N,); see `cross_entropy`."""

    def forward(self, logits: Any, targets: Any) -> Tensor:
        """Return a scalar Tensor."""
        return cross_entropy(logits, targets, self.reduction)
