"""tinytorch.nn: layers and losses under the names that PyTorch programs use."""

from __future__ import annotations

from typing import Any

from tinytorch.core.activations import GELU, ReLU, Sigmoid, SiLU, Softmax, Tanh
from tinytorch.core.attention import MultiHeadAttention
from tinytorch.core.convolutions import AvgPool2d, BatchNorm2d, Conv2d, MaxPool2d
from tinytorch.core.embeddings import Embedding, PositionalEncoding
from tinytorch.core.layers import Dropout, Layer, Linear, Module, Sequential
from tinytorch.core.losses import BinaryCrossEntropyLoss, CrossEntropyLoss, MSELoss
from tinytorch.core.shaping import Flatten
from tinytorch.core.tensor import Tensor
from tinytorch.core.transformers import LayerNorm, TransformerBlock
from tinytorch.nn import functional

BCELoss = BinaryCrossEntropyLoss

__all__ = [
    "GELU",
    "AvgPool2d",
    "BCELoss",
    "BatchNorm2d",
    "BinaryCrossEntropyLoss",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "Layer",
    "LayerNorm",
    "Linear",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "MultiHeadAttention",
    "Parameter",
    "PositionalEncoding",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "TransformerBlock",
    "functional",
]


class Parameter(Tensor):
    """A Tensor that requires gradients: a Layer finds it among its attributes."""

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True, dtype: Any = None) -> None:
        """Wrap `data`."""
        super().__init__(data, requires_grad, dtype)
