"""Datasets and batches: what training reads, in an order that a seed repeats."""

from __future__ import annotations

import abc
import contextvars
import queue
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinytorch.core import randomness
from tinytorch.core.layers import positive_int
from tinytorch.core.tensor import Tensor
from tinytorch.core.transforms import Compose, RandomCrop, RandomHorizontalFlip
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.spec import Array

__all__ = [
    "Compose",
    "DataLoader",
    "Dataset",
    "RandomCrop",
    "RandomHorizontalFlip",
    "TensorDataset",
]


class Dataset(abc.ABC):
    """Samples by number: a subclass defines `__len__` and `__getitem__`."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return how many samples there are."""

    @abc.abstractmethod
    def __getitem__(self, index: int) -> Any:
        """Return one sample: a Tensor, array or number, or a tuple of them."""


class TensorDataset(Dataset):
    """Tensors of one length; sample i is the tuple of their rows i."""

    def __init__(self, *tensors: Any) -> None:
        """Keep the Tensors. Raises ShapeError unless all have the same length."""
        if not tensors:
            raise InvalidValue("TensorDataset needs at least one Tensor, got none")
        self.tensors = [t if isinstance(t, Tensor) else Tensor(t) for t in tensors]
        lengths = [t.shape[0] if t.ndim else None for t in self.tensors]
        if None in lengths or len(set(lengths)) > 1:
            shapes = ", ".join(str(t.shape) for t in self.tensors)
            raise ShapeError(f"TensorDataset's Tensors must have one length, got shapes {shapes}")

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return tuple(t[index] for t in self.tensors)

    def batch(self, indices: Array) -> tuple[Tensor, ...]:
        """Return the samples of these numbers as one Tensor each."""
        return tuple(Tensor(t._data[indices], dtype=t.dtype) for t in self.tensors)


def _stacked(column: list[Any]) -> Tensor:
    parts = [item if isinstance(item, Tensor) else Tensor(item) for item in column]
    shapes = {part.shape for part in parts}
    if len(shapes) > 1:
        raise ShapeError(f"samples of shapes {sorted(shapes)} don't make a batch: pad or crop them")
    stacked = np.stack([part._data for part in parts])
    return Tensor(stacked, dtype=stacked.dtype)


def _collated(samples: list[Any]) -> Any:
    """Return a list of samples as a batch: a Tensor, or a tuple of them."""
    if isinstance(samples[0], tuple | list):
        return tuple(_stacked(list(column)) for column in zip(*samples, strict=True))
    return _stacked(samples)


class DataLoader:
    """Batches of a dataset, the last one shorter if need be (dropped with `drop_last`).

    `shuffle` draws a new order for every pass. With `prefetch` > 0 a thread makes that many batches
    ahead; order and random transforms are the same as without.
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        prefetch: int = 0,
    ) -> None:
        """Keep the settings. Raises InvalidValue for a batch size below 1."""
        self.batch_size = positive_int(batch_size, "batch_size")
        for name in ("__len__", "__getitem__"):
            if not hasattr(dataset, name):
                raise InvalidValue(f"a dataset has {name}, and {type(dataset).__name__} has not")
        if not isinstance(prefetch, int) or prefetch < 0:
            raise InvalidValue(f"prefetch is a number of batches, at least 0, got {prefetch!r}")
        self.dataset, self.shuffle = dataset, shuffle
        self.drop_last, self.prefetch = drop_last, prefetch

    def __len__(self) -> int:
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        count = len(self.dataset)
        order = randomness.permutation(count) if self.shuffle else np.arange(count)
        # NOTE: a generator of the pass's own, so that a thread ahead draws what this one would.
        own = randomness.derived()
        cuts = range(0, len(self) * self.batch_size, self.batch_size)
        parts = [order[first : first + self.batch_size] for first in cuts]
        made = (self._batch(part, own) for part in parts)
        return _ahead(made, self.prefetch) if self.prefetch else made

    def _batch(self, indices: Array, own: np.random.RandomState) -> Any:
        if isinstance(self.dataset, TensorDataset):
            return self.dataset.batch(indices)
        with randomness.drawing_from(own):
            return _collated([self.dataset[int(i)] for i in indices])


_END = object()


def _ahead(batches: Iterator[Any], count: int) -> Iterator[Any]:
    """Yield what an iterator yields, made by a thread up to `count` items ahead."""
    made: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(count)
    stop = threading.Event()

    def offer(item: Any, error: BaseException | None = None) -> bool:
        while not stop.is_set():
            try:
                made.put((item, error), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for batch in batches:
                if not offer(batch):
                    return
            offer(_END)
        except BaseException as error:  # raised where the batch is asked for
            offer(_END, error)

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(work,), daemon=True)
    thread.start()
    try:
        while True:
            item, error = made.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stop.set()
        thread.join()
