"""The models that claims about accuracy are measured on: an MLP and a CNN, trained on real digits.

scikit-learn's 1,797 handwritten digits of 8 x 8 pixels; every third is held out.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch import data
from tinytorch.core.activations import ReLU
from tinytorch.core.convolutions import Conv2d, MaxPool2d
from tinytorch.core.layers import Linear, Sequential
from tinytorch.core.losses import CrossEntropyLoss
from tinytorch.core.optimizers import Adam
from tinytorch.core.shaping import Flatten
from tinytorch.core.tensor import Tensor
from tinytorch.perf.benchmarking.data import accuracy_of
from tinytorch.perf.compression import Masks

_EPOCHS, _BATCH = 30, 64
MODELS = ("MLP", "CNN")


@dataclass(frozen=True)
class Trained:
    """A model trained on the digits, and the two parts of the data: (images, labels)."""

    model: Any
    train: tuple[Any, Any]
    test: tuple[Any, Any]

    @property
    def accuracy(self) -> float:
        """The share of the held-out digits that it gets right."""
        return self.accuracy_of(self.model)

    def accuracy_of(self, model: Any) -> float:
        """Return another model's accuracy on the same digits."""
        found = accuracy_of(model, self.test)
        assert found is not None
        return found

    def points_lost(self, model: Any) -> float:
        """Return how many percentage points less another model gets right."""
        return 100 * (self.accuracy - self.accuracy_of(model))


def fit(model: Any, known: tuple[Any, Any], epochs: int, masks: Masks | None = None) -> None:
    """Train a model with Adam, in the same order every time; masks keep pruned weights 0."""
    x, y = known
    optimizer, loss_fn = Adam(model.parameters(), lr=2e-3), CrossEntropyLoss()
    rng = np.random.default_rng(0)
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(x), _BATCH):
            rows = order[start : start + _BATCH]
            optimizer.zero_grad()
            loss_fn(model(Tensor(x[rows])), Tensor(y[rows], dtype=np.int64)).backward()
            optimizer.step()
            if masks is not None:
                masks.apply()


def _made(kind: str) -> Any:
    assert kind in MODELS
    if kind == "MLP":
        return Sequential(Linear(64, 128), ReLU(), Linear(128, 10))
    return Sequential(
        Conv2d(1, 16, 3, padding=1),
        ReLU(),
        MaxPool2d(2),
        Conv2d(16, 32, 3, padding=1),
        ReLU(),
        MaxPool2d(2),
        Flatten(),
        Linear(128, 10),
    )


@functools.cache
def trained(kind: str = "MLP") -> Trained:
    """Train an MLP 64-128-10, or a "CNN" of two convolutions; the same every time.

    The CNN takes images (N, 1, 8, 8), the MLP rows of 64 pixels; both 0 to 1. Raises
    MissingDependency without scikit-learn.
    """
    images, labels = data.digits()
    shape = (len(images), 1, 8, 8) if kind == "CNN" else (len(images), 64)
    x = images.reshape(shape)
    held = np.arange(len(x)) % 3 == 0
    state = np.random.get_state()
    np.random.seed(0)
    model = _made(kind)
    np.random.set_state(state)
    train = x[~held], labels[~held]
    fit(model, train, _EPOCHS if kind == "MLP" else _EPOCHS // 2)
    return Trained(model, train, (x[held], labels[held]))
