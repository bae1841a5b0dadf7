"""A real program over Tensor: nearest-neighbour classification of handwritten digits."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tinytorch import backends
from tinytorch.core.tensor import Tensor
from tinytorch.errors import MeasurementError, MissingDependency
from tinytorch.measure.clock import Effort, race
from tinytorch.measure.sample import Measurement
from tinytorch.measure.stats import Interval, ratio_interval

BACKENDS = ("naive", "blocked", "numpy", "auto")


def nearest_labels(images: Tensor, known: Tensor, labels: Tensor) -> Tensor:
    """Return, for each image (N, D), the label of the nearest known image (K, D)."""
    lengths = (known * known).sum(axis=1)
    distances = lengths + (images @ known.T) * -2.0
    return labels[distances.argmin(axis=1)]


@dataclass(frozen=True)
class Digits:
    """1,797 real 8x8 images of handwritten digits, split in a fixed way."""

    known: Tensor
    known_labels: Tensor
    images: Tensor
    labels: Tensor


def load(test_share: int = 20) -> Digits:
    """Return scikit-learn's digits, every `test_share`-th one held out for the test.

    Raises MissingDependency without scikit-learn.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingDependency(
            "scikit-learn", "the handwritten digits", "pip install scikit-learn"
        ) from error
    pixels, labels = load_digits(return_X_y=True)
    held_out = np.arange(len(pixels)) % test_share == 0
    return Digits(
        known=Tensor(pixels[~held_out]),
        known_labels=Tensor(labels[~held_out], dtype=np.int64),
        images=Tensor(pixels[held_out]),
        labels=Tensor(labels[held_out], dtype=np.int64),
    )


@dataclass(frozen=True)
class Run:
    """The program under one backend; `speedup` is over `naive`, where naive was timed too."""

    backend: str
    right: int
    of: int
    measurement: Measurement
    speedup: Interval | None

    @property
    def accuracy(self) -> float:
        """The share of test images that got their own label."""
        return self.right / self.of


def classify(digits: Digits, backend: str) -> int:
    """Classify the test images under a backend, and return how many are right."""
    with backends.use_backend(backend):
        found = nearest_labels(digits.images, digits.known, digits.known_labels)
    return int((found.numpy() == digits.labels.numpy()).sum())


def run(digits: Digits, seconds: float = 1.0) -> list[Run]:
    """Run the program under every backend, in turns; what is counted right is what was timed.

    `naive` takes part in three rounds; the others then go on without it.
    """
    right: dict[str, set[int]] = {name: set() for name in BACKENDS}

    def timed(name: str) -> Callable[[], None]:
        return lambda: right[name].add(classify(digits, name))

    calls = {name: timed(name) for name in BACKENDS}
    together = race(calls, effort=Effort(seconds=0.1, max_rounds=3))
    quick = {name: call for name, call in calls.items() if name != "naive"}
    taken = {**together, **race(quick, effort=Effort(seconds=seconds))}
    naive = together["naive"].seconds
    return [
        Run(
            backend=name,
            right=_only(right[name], name),
            of=digits.labels.size,
            measurement=taken[name],
            speedup=None if name == "naive" else ratio_interval(naive, together[name].seconds),
        )
        for name in BACKENDS
    ]


def _only(counts: set[int], backend: str) -> int:
    if len(counts) != 1:
        raise MeasurementError(f"backend {backend} counted {sorted(counts)} right on one input")
    return next(iter(counts))


def source() -> str:
    """Return the program's text, as the report shows it."""
    return inspect.getsource(nearest_labels)
