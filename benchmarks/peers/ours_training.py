"""Training with TinyTorch: the layers, losses and optimizers as a user writes them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from training import Recipe

import tinytorch as tt
from tinytorch.core.graph import no_grad


class _CNN(tt.Layer):
    def __init__(self, sizes: tuple[int, ...], flat: int) -> None:
        _, c1, c2, *rest = sizes
        self.conv1, self.conv2 = tt.Conv2d(1, c1, 5), tt.Conv2d(c1, c2, 5)
        wide = [flat, *rest]
        self.dense = [tt.Linear(i, o) for i, o in itertools.pairwise(wide)]
        self.pool = tt.MaxPool2d(2)

    def forward(self, x: Any) -> Any:
        x = self.pool(self.conv1(x).relu())
        x = self.pool(self.conv2(x).relu())
        x = x.reshape(x.shape[0], -1)
        for layer in self.dense[:-1]:
            x = layer(x).relu()
        return self.dense[-1](x)


def _mlp(sizes: tuple[int, ...]) -> Any:
    layers: list[Any] = []
    for i, o in itertools.pairwise(sizes):
        layers += [tt.Linear(i, o), tt.ReLU()]
    return tt.Sequential(*layers[:-1])


def _model(recipe: Recipe, sizes: tuple[int, ...], weights: tuple[Any, ...]) -> Any:
    if recipe.kind == "mlp":
        return _mlp(sizes)
    if recipe.kind == "cnn":
        return _CNN(sizes, weights[4].shape[0])
    width, layers, heads, length, vocabulary = sizes
    return tt.GPT(vocabulary, width, layers, heads, max_seq_len=length)


def trainer(recipe: Recipe, sizes: tuple[int, ...], arrays: tuple[Any, ...]) -> Callable[[], Any]:
    """Return a function that takes one step and returns the loss before it."""
    *weights, x, y = arrays
    model = _model(recipe, sizes, tuple(weights))
    parameters = model.parameters()
    assert [p.shape for p in parameters] == [w.shape for w in weights]
    with no_grad():
        for p, w in zip(parameters, weights, strict=True):
            p.data = np.array(w)
    loss_of = tt.CrossEntropyLoss()
    kind = tt.AdamW if recipe.kind == "gpt" else tt.SGD
    optimizer = kind(parameters, lr=recipe.lr)
    inputs = x if recipe.kind == "gpt" else tt.Tensor(x)

    def step() -> float:
        optimizer.zero_grad()
        loss = loss_of(model(inputs), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step
