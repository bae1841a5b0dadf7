"""Reading a dataset for accuracy: inputs and labels, however they are held."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.spec import Array
from tinytorch.perf import models

_INPUT_KEYS = ("inputs", "x", "X", "data", "images", "features")
_LABEL_KEYS = ("labels", "y", "targets", "target")
_BATCH = 256


def _array(value: Any) -> Array | None:
    try:
        array = np.asarray(value.data if isinstance(value, Tensor) else value)
    except (ValueError, TypeError):
        return None
    return array if array.dtype.kind in "biuf" and array.ndim else None


def _pair(x: Any, y: Any) -> tuple[Array, Array] | None:
    inputs, labels = _array(x), _array(y)
    if inputs is None or labels is None:
        return None
    if len(inputs) != len(labels):
        raise ShapeError(
            f"a dataset needs as many labels as inputs, got {len(labels)} and {len(inputs)}"
        )
    return inputs, labels


def _held(dataset: Mapping[str, Any]) -> tuple[Any, Any] | None:
    x = next((dataset[k] for k in _INPUT_KEYS if k in dataset), None)
    y = next((dataset[k] for k in _LABEL_KEYS if k in dataset), None)
    return None if x is None or y is None else (x, y)


def batches(dataset: Any) -> Iterator[tuple[Array, Array]]:
    """Yield (inputs, labels) of a dataset; nothing where it does not hold both.

    Taken: a pair of arrays, a mapping with inputs and labels, a TensorDataset, a DataLoader or
    another iterable of pairs of batches.
    """
    whole: tuple[Any, Any] | None = None
    tensors = getattr(dataset, "tensors", None)
    if isinstance(dataset, Mapping):
        whole = _held(dataset)
        if whole is None:
            return
    elif isinstance(tensors, list | tuple) and len(tensors) == 2:
        whole = tensors[0], tensors[1]
    elif isinstance(dataset, tuple) and len(dataset) == 2:
        whole = dataset
    if whole is not None:
        pair = _pair(*whole)
        if pair is not None:
            yield from _cut(*pair)
    elif hasattr(dataset, "__iter__") and not isinstance(dataset, str | np.ndarray | Tensor):
        for batch in dataset:
            if isinstance(batch, list | tuple) and len(batch) == 2:
                pair = _pair(*batch)
                if pair is not None:
                    yield pair


def _cut(inputs: Array, labels: Array) -> Iterator[tuple[Array, Array]]:
    for start in range(0, len(inputs), _BATCH):
        yield inputs[start : start + _BATCH], labels[start : start + _BATCH]


def as_input(array: Array) -> Tensor:
    """Return a batch as a model takes it: floats as they are stored by default, tokens as ints."""
    return Tensor(array, dtype=np.int64) if array.dtype.kind in "iu" else Tensor(array)


def predicted(output: Any) -> Array:
    """Return class indices from scores (N, C), the largest; of one score, whether it is >= 0.5."""
    scores = np.asarray(output.data if isinstance(output, Tensor) else output)
    if scores.ndim > 1 and scores.shape[-1] > 1:
        return np.asarray(scores.argmax(axis=-1))
    return np.asarray(scores.reshape(len(scores)) >= 0.5)


def accuracy_of(model: Any, dataset: Any) -> float | None:
    """Return the share of a dataset's labels that a model gets right; None where it has no labels.

    Labels are class indices, or rows with one 1.
    """
    right = seen = 0
    for inputs, labels in batches(dataset):
        x = as_input(inputs) if models.takes_tokens(model) else Tensor(inputs)
        guesses = predicted(models.run(model, x))
        told = labels.argmax(axis=-1) if labels.ndim == guesses.ndim + 1 else labels
        if told.shape != guesses.shape:
            raise InvalidValue(
                f"labels of shape {labels.shape} don't match predictions of shape {guesses.shape}"
            )
        right += int((guesses == told).sum())
        seen += guesses.size
    return right / seen if seen else None


def first_shape(datasets: Any) -> tuple[int, ...] | None:
    """Return the shape of one sample, batch axis 1, of the first dataset that holds inputs."""
    for dataset in datasets or ():
        for inputs, _ in batches(dataset):
            return (1, *inputs.shape[1:])
    return None
