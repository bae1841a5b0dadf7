"""Small layers under the names that the optimisation modules look for."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.core.tensor import Tensor


class Linear:
    def __init__(self, inputs: int, outputs: int, bias: bool = True, seed: int = 0) -> None:
        rng = np.random.default_rng([seed, inputs, outputs])
        weight = rng.standard_normal((inputs, outputs), np.float32) / np.float32(inputs**0.5)
        self.weight = Tensor(weight, requires_grad=True)
        self.bias = None
        if bias:
            self.bias = Tensor(rng.standard_normal(outputs, np.float32), requires_grad=True)

    def forward(self, x: Any) -> Tensor:
        product = x @ self.weight
        return product if self.bias is None else product + self.bias

    def parameters(self) -> list[Tensor]:
        return [self.weight] if self.bias is None else [self.weight, self.bias]


class ReLU:
    def forward(self, x: Tensor) -> Tensor:
        return x.relu()

    def parameters(self) -> list[Tensor]:
        return []


class Sequential:
    def __init__(self, *layers: Any) -> None:
        self.layers = list(layers)

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def parameters(self) -> list[Tensor]:
        return [p for layer in self.layers for p in layer.parameters()]


def mlp() -> Sequential:
    return Sequential(Linear(64, 96), ReLU(), Linear(96, 10, seed=1))
