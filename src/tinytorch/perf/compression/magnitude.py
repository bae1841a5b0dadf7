"""Pruning by size: single weights, whole outputs, blocks, and N of M.

Weights are the parameters of two axes or more; biases and scales are left alone. Each function
sets exactly as many weights to zero as it was asked for; among equals, the first ones go.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.spec import Array
from tinytorch.perf import models


def checked_share(value: Any, name: str) -> float:
    """Return a share as a float; raises InvalidValue unless it is a number from 0 to 1."""
    number = isinstance(value, int | float | np.floating) and not isinstance(value, bool)
    if not number or not 0 <= value <= 1:
        raise InvalidValue(f"{name} must be between 0 and 1, got {value!r}")
    return float(value)


def weights_of(model: Any) -> list[Any]:
    """Return a model's weights: its parameters of two axes or more."""
    return [p for p in models.parameters_of(model) if models.array_in(p).ndim > 1]


def _some_weights(model: Any) -> list[Any]:
    found = weights_of(model)
    if not found:
        raise InvalidValue(f"a {type(model).__name__} has no weights (of two axes) to prune")
    for weight in found:
        checked_finite(weight)
    return found


def checked_finite(weight: Any) -> None:
    """Raise InvalidValue for a weight with NaN or infinities: it has no order of sizes."""
    if not np.isfinite(models.array_in(weight)).all():
        raise InvalidValue("a weight holds NaN or inf: it can't be pruned by size")


def write(parameter: Any, values: Array) -> None:
    """Put values into a parameter's own memory, so that an optimizer that holds it sees them."""
    held = models.array_in(parameter)
    if held.flags.writeable:
        held[...] = values
        values = held
    if isinstance(parameter, Tensor):
        parameter.data = values  # it is told, even where the memory is the same
    elif values is not held:
        raise InvalidValue("a parameter that is a read-only array can't be pruned")


def measure_sparsity(model: Any) -> float:
    """Return the percentage of a model's weights that are exactly 0; 0.0 where it has none."""
    arrays = [models.array_in(weight) for weight in weights_of(model)]
    size = sum(a.size for a in arrays)
    return 100 * sum(int((a == 0).sum()) for a in arrays) / size if size else 0.0


def _zero_smallest(sizes: Array, count: int) -> Array:
    """Return a mask of the `count` smallest entries, the first of equals first."""
    mask = np.zeros(sizes.size, bool)
    if count:
        bound = np.partition(sizes, count - 1)[count - 1]
        mask[sizes < bound] = True
        ties = np.flatnonzero(sizes == bound)
        mask[ties[: count - int(mask.sum())]] = True
    return mask


def magnitude_prune(model: Any, sparsity: float = 0.9) -> Any:
    """Set the smallest weights of the whole model to 0, in place; return the model.

    Exactly round(sparsity * count) of all weights together are 0 afterwards (more only where more
    were before). sparsity 0 to 1. Raises InvalidValue before it changes anything.
    """
    share, weights = checked_share(sparsity, "sparsity"), _some_weights(model)
    arrays = [models.array_in(w) for w in weights]
    sizes = np.concatenate([np.abs(a).ravel() for a in arrays])
    mask = _zero_smallest(sizes, round(share * sizes.size))
    start = 0
    for weight, array in zip(weights, arrays, strict=True):
        part = mask[start : start + array.size].reshape(array.shape)
        write(weight, np.where(part, array.dtype.type(0), array))
        start += array.size
    return model


def _outputs_first(layer: Any) -> tuple[Array, bool]:
    """Return a layer's weight with a row an output, and whether it was turned for that."""
    array = models.array_in(layer.weight)
    if array.ndim == 2:
        return array.T, True
    return array.reshape(len(array), -1), False


def structured_prune(model: Any, prune_ratio: float = 0.5) -> Any:
    """Set whole outputs to 0, in place: of each layer those of the smallest L2 norm; return it.

    Of a layer of N outputs, round(prune_ratio * N) go, with their biases: columns of a linear
    weight (inputs, outputs), filters of a convolution. Without their biases they would still give
    a constant. Tables of embeddings have no outputs and are left alone.
    """
    share = checked_share(prune_ratio, "prune_ratio")
    _some_weights(model)
    layers = [
        layer
        for layer in models.layers_of(model)
        if models.array_in(getattr(layer, "weight", 0.0)).ndim in (2, 4)
        and getattr(layer, "vocab_size", None) is None
    ]
    if not layers:
        raise InvalidValue(f"a {type(model).__name__} has no layer with outputs to prune")
    for layer in layers:
        rows, turned = _outputs_first(layer)
        norms = np.sqrt(np.square(rows.astype(np.float64)).sum(axis=1))
        gone = _zero_smallest(norms, round(share * len(norms)))
        kept = np.where(gone[:, None], rows.dtype.type(0), rows)
        shape = models.array_in(layer.weight).shape
        write(layer.weight, kept.T if turned else kept.reshape(shape))
        bias = getattr(layer, "bias", None)
        if bias is not None:
            held = models.array_in(bias)
            write(bias, np.where(gone, held.dtype.type(0), held))
    return model


def block_prune(model: Any, sparsity: float = 0.9, block: tuple[int, int] = (1, 16)) -> Any:
    """Set whole blocks of each 2-D weight to 0, those of the smallest L2 norm, in place.

    Of a weight's blocks (rows x columns, those cut off by an edge included) exactly
    round(sparsity * count) go. Return the model.
    """
    share, weights = checked_share(sparsity, "sparsity"), _some_weights(model)
    if len(block) != 2 or not all(isinstance(n, int) and n > 0 for n in block):
        raise InvalidValue(f"block must be two ints of at least 1, got {block!r}")
    for weight in weights:
        array = models.array_in(weight)
        if array.ndim == 2:
            write(weight, _block_pruned(array, share, block))
    return model


def _block_pruned(array: Array, share: float, block: tuple[int, int]) -> Array:
    counts = [math.ceil(n / b) for n, b in zip(array.shape, block, strict=True)]
    padded = np.zeros([c * b for c, b in zip(counts, block, strict=True)])
    padded[: array.shape[0], : array.shape[1]] = array
    cut = padded.reshape(counts[0], block[0], counts[1], block[1])
    norms = np.square(cut).sum(axis=(1, 3)).ravel()
    gone = _zero_smallest(norms, round(share * norms.size)).reshape(counts)
    mask = np.repeat(np.repeat(gone, block[0], axis=0), block[1], axis=1)
    return np.where(mask[: array.shape[0], : array.shape[1]], array.dtype.type(0), array)


def nm_prune(model: Any, n: int = 2, m: int = 4) -> Any:
    """Keep the N largest of every M weights that an output sums up, in place; return the model.

    Groups run along the inputs of a linear weight (inputs, outputs), and along channels and
    kernel of a convolution's; a last group of fewer than M keeps up to N.
    """
    for value, name in ((n, "n"), (m, "m")):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InvalidValue(f"{name} must be an int of at least 1, got {value!r}")
    if n > m:
        raise InvalidValue(f"n of m must be at most all of them, got {n} of {m}")
    for weight in _some_weights(model):
        array = models.array_in(weight)
        rows = array.T if array.ndim == 2 else array.reshape(len(array), -1)
        kept = _largest_of_each(rows, n, m)
        write(weight, kept.T if array.ndim == 2 else kept.reshape(array.shape))
    return model


def _largest_of_each(rows: Array, n: int, m: int) -> Array:
    groups = math.ceil(rows.shape[1] / m)
    sizes = np.full((len(rows), groups * m), -1.0)  # what is no weight is smaller than any
    sizes[:, : rows.shape[1]] = np.abs(rows)
    order = np.argsort(-sizes.reshape(len(rows), groups, m), axis=2, kind="stable")
    kept = np.zeros((len(rows), groups, m), bool)
    np.put_along_axis(kept, order[..., :n], True, axis=2)
    mask = kept.reshape(len(rows), -1)[:, : rows.shape[1]]
    return np.where(mask, rows, rows.dtype.type(0))


class Masks:
    """Which weights are 0 now, to be kept so while the others are trained further."""

    def __init__(self, model: Any) -> None:
        """Note every weight that is exactly 0."""
        self._zeros = [(w, models.array_in(w) == 0) for w in weights_of(model)]

    def apply(self) -> None:
        """Set them to 0 again: after each step of an optimizer."""
        for weight, zero in self._zeros:
            array = models.array_in(weight)
            write(weight, np.where(zero, array.dtype.type(0), array))


def verify_pruning_works(model: Any, target_sparsity: float = 0.8) -> dict[str, Any]:
    """Return the counts of a model's weights, and whether the target share of zeros is reached.

    sparsity and target_sparsity as shares, sparsity_percent; total_weights, zero_weights,
    active_weights; dense_mb and sparse_mb (values and indices, 2**20 bytes), because zeros save
    memory only where they are not stored; verified.
    """
    target = checked_share(target_sparsity, "target_sparsity")
    arrays = [models.array_in(w) for w in _some_weights(model)]
    total = sum(a.size for a in arrays)
    zeros = sum(int((a == 0).sum()) for a in arrays)
    # A float32 and a 4-byte index each, and an 8-byte start an output.
    outputs = sum(a.shape[-1] if a.ndim == 2 else len(a) for a in arrays)
    return {
        "sparsity": zeros / total,
        "sparsity_percent": 100 * zeros / total,
        "target_sparsity": target,
        "total_weights": total,
        "zero_weights": zeros,
        "active_weights": total - zeros,
        "dense_mb": sum(a.nbytes for a in arrays) / models.MIB,
        "sparse_mb": (8 * (total - zeros) + 8 * (outputs + len(arrays))) / models.MIB,
        # A target may lie between two counts: the nearest one reaches it.
        "verified": zeros >= round(target * total),
    }


def checked_matrix(value: Any, name: str) -> Array:
    """Return a matrix of finite numbers; raises ShapeError or InvalidValue."""
    array = np.asarray(value.data if isinstance(value, Tensor) else value)
    if array.ndim != 2 or not array.size:
        raise ShapeError(f"{name} must be a matrix, got shape {array.shape}")
    if array.dtype.kind not in "biuf" or not np.isfinite(array).all():
        raise InvalidValue(f"{name} must hold finite real numbers")
    return array
