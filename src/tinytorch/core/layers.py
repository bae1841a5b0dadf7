"""Linear, Dropout and Sequential: the layers that every model is made of."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinytorch.core import graph, randomness
from tinytorch.core.module import Layer, Module
from tinytorch.core.operands import binary
from tinytorch.core.rules.arithmetic import MatmulBackward
from tinytorch.core.rules.layers import DropoutBackward, LinearBackward
from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, ShapeError

__all__ = ["Dropout", "Layer", "Linear", "Module", "Sequential", "as_tensor", "positive_int"]


def as_tensor(x: Any) -> Tensor:
    """Return a Tensor as it is, and anything else as one."""
    return x if isinstance(x, Tensor) else Tensor(x)


def positive_int(value: Any, name: str) -> int:
    """Return an int of at least 1; raises InvalidValue with the name of what it was for."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise InvalidValue(f"{name} must be an int of at least 1, got {value!r}")
    return int(value)


class Linear(Layer):
    """y = x @ weight + bias, with weight (in_features, out_features) and bias (out_features,).

    Weights are drawn from a normal distribution of standard deviation 1 / sqrt(in_features), which
    keeps the variance of what passes through; biases start at 0.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        """Draw the weights. Raises InvalidValue unless both sizes are ints of at least 1."""
        self.in_features = positive_int(in_features, "in_features")
        self.out_features = positive_int(out_features, "out_features")
        drawn = randomness.normal((in_features, out_features), 1 / math.sqrt(in_features))
        self.weight = Tensor(drawn, requires_grad=True)
        self.bias = Tensor(np.zeros(out_features), requires_grad=True) if bias else None

    def forward(self, x: Any, activation: str = "none") -> Tensor:
        """Return (..., out_features) for x (..., in_features); `activation` may be "relu"."""
        x = as_tensor(x)
        if x._data.ndim == 0 or x._data.shape[-1] != self.weight._data.shape[0]:
            raise ShapeError(
                f"{self!r} takes inputs with {self.weight.shape[0]} features in the last axis, got "
                f"{x.shape[-1] if x.ndim else 'none'}: shape {x.shape}"
            )
        return linear(x, self.weight, self.bias, activation)

    def __repr__(self) -> str:
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"Linear({sizes}, bias={self.bias is not None})"


def linear(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str = "none"
) -> Tensor:
    """Return x @ weight + bias, for weight (in, out); with `activation` "relu", what is above 0."""
    if activation == "none":
        if bias is None:
            return binary(MatmulBackward, x, weight)
        return graph.apply(LinearBackward, x, weight, bias)
    if activation != "relu":
        raise InvalidValue(f"linear's activation must be 'none' or 'relu', got {activation!r}")
    if bias is None:
        return binary(MatmulBackward, x, weight).relu()
    return graph.apply(LinearBackward, x, weight, bias, activation=activation)


class Dropout(Layer):
    """In training, zero each element with probability p and scale the others by 1 / (1 - p).

    Srivastava et al., 2014, in the inverted form: in use, nothing is done.
    """

    def __init__(self, p: float = 0.5) -> None:
        """Keep the probability. Raises InvalidValue unless 0 <= p <= 1."""
        if not isinstance(p, int | float | np.number) or not 0 <= p <= 1:
            raise InvalidValue(f"dropout's p is a probability from 0 to 1, got {p!r}")
        self.p = float(p)

    def forward(self, x: Any, training: bool | None = None) -> Tensor:
        """Return x with elements dropped; `training` defaults to the layer's mode."""
        given = as_tensor(x)
        if not (self.training if training is None else training) or self.p == 0:
            return given
        scale = 0.0 if self.p == 1 else 1 / (1 - self.p)
        kept = (randomness.uniform(given.shape) >= self.p) * given.dtype.type(scale)
        return graph.apply(DropoutBackward, given, kept=np.asarray(kept, given.dtype))

    def __repr__(self) -> str:
        return f"Dropout(p={self.p})"


def _epilogue(layer: Any) -> str:
    """Return the activation that a layer is, as linear's own; "none" for any other.

    Not for a subclass, nor for a layer whose forward somebody watches: those are called.
    """
    watched = "forward" in getattr(layer, "__dict__", ())
    return "none" if watched else vars(type(layer)).get("epilogue", "none")


class Sequential(Layer):
    """Layers (or any functions of a Tensor), one after the other; also given as one list."""

    def __init__(self, *layers: Any) -> None:
        """Keep the layers. Raises InvalidValue for what can't be called."""
        given = layers[0] if len(layers) == 1 and isinstance(layers[0], list | tuple) else layers
        for layer in given:
            if not callable(layer) and not callable(getattr(layer, "forward", None)):
                raise InvalidValue(f"Sequential takes layers, got {type(layer).__name__}")
        self.layers = list(given)

    def forward(self, x: Any) -> Any:
        """Pass x through every layer; a Linear takes a ReLU that follows it into its product."""
        taken = False
        for layer, after in itertools.zip_longest(self.layers, self.layers[1:]):
            if taken:
                taken = False
                continue
            if layer.__class__ is Linear and after is not None and "forward" not in vars(layer):
                activation = _epilogue(after)
                taken = activation != "none"
                x = layer.forward(x, activation)
            else:
                x = layer(x) if callable(layer) else layer.forward(x)
        return x

    def append(self, layer: Any) -> Sequential:
        """Add a layer at the end."""
        self.layers.append(layer)
        return self

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.layers)

    def __getitem__(self, index: int) -> Any:
        return self.layers[index]
