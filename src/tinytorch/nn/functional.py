"""tinytorch.nn.functional: what layers do, as functions. Weights of `linear` are (out, in) here.

That is PyTorch's layout, for its programs; `tinytorch.core.layers.Linear` keeps (in, out).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinytorch.core import graph, layers
from tinytorch.core.attention import scaled_dot_product_attention
from tinytorch.core.convolutions import AvgPool2d, MaxPool2d
from tinytorch.core.embeddings import token_numbers
from tinytorch.core.layers import as_tensor
from tinytorch.core.losses import binary_cross_entropy, cross_entropy, log_softmax, mse_loss
from tinytorch.core.rules.elementwise import SiLUBackward
from tinytorch.core.rules.images import Conv2dBackward
from tinytorch.core.rules.sequences import EmbeddingBackward, LayerNormBackward
from tinytorch.core.tensor import Tensor
from tinytorch.errors import ShapeError

__all__ = [
    "avg_pool2d",
    "binary_cross_entropy",
    "conv2d",
    "cross_entropy",
    "dropout",
    "embedding",
    "gelu",
    "layer_norm",
    "linear",
    "log_softmax",
    "max_pool2d",
    "mse_loss",
    "relu",
    "scaled_dot_product_attention",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]

Pair = int | Sequence[int]


def relu(x: Any) -> Tensor:
    """Return max(x, 0)."""
    return as_tensor(x).relu()


def gelu(x: Any, approximate: str = "none") -> Tensor:
    """Return GELU: exact, as PyTorch's default is, or in its "tanh" form."""
    return as_tensor(x).gelu(approximate)


def silu(x: Any) -> Tensor:
    """Return x / (1 + exp(-x))."""
    return SiLUBackward.apply(as_tensor(x))  # type: ignore[no-any-return]


def sigmoid(x: Any) -> Tensor:
    """Return 1 / (1 + exp(-x))."""
    return as_tensor(x).sigmoid()


def tanh(x: Any) -> Tensor:
    """Return the hyperbolic tangent."""
    return as_tensor(x).tanh()


def softmax(x: Any, dim: int = -1) -> Tensor:
    """Return softmax along an axis."""
    return as_tensor(x).softmax(dim)


def linear(x: Any, weight: Any, bias: Any = None) -> Tensor:
    """Return x @ weight.T + bias, for weight (out, in) as in PyTorch."""
    w, b = as_tensor(weight), None if bias is None else as_tensor(bias)
    if w.ndim != 2:
        raise ShapeError(f"linear takes a weight (out, in), got shape {w.shape}")
    return layers.linear(as_tensor(x), w.T, b)


def dropout(x: Any, p: float = 0.5, training: bool = True) -> Tensor:
    """Return x with elements dropped with probability p, in training."""
    return layers.Dropout(p)(x, training=training)  # type: ignore[no-any-return]


def embedding(indices: Any, weight: Any) -> Tensor:
    """Return rows of a table (vocab_size, embed_dim) by number."""
    table = as_tensor(weight)
    return graph.apply(EmbeddingBackward, table, numbers=token_numbers(indices, len(table)))


def layer_norm(
    x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5
) -> Tensor:
    """Return x normalised over its last axis, times weight, plus bias."""
    given = as_tensor(x)
    sizes = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if len(sizes) != 1 or given.shape[-1:] != sizes:
        raise ShapeError(f"layer_norm over {sizes} takes (..., {sizes[-1]}), got {given.shape}")
    gain = as_tensor(np.ones(sizes) if weight is None else weight)
    offset = as_tensor(np.zeros(sizes) if bias is None else bias)
    return graph.apply(LayerNormBackward, given, gain, offset, eps=eps)


def conv2d(x: Any, weight: Any, bias: Any = None, stride: Pair = 1, padding: Pair = 0) -> Tensor:
    """Return the cross-correlation of images (N, C, H, W) with kernels (O, C, kh, kw)."""
    given, w = as_tensor(x), as_tensor(weight)
    if w.ndim != 4:
        raise ShapeError(f"conv2d's weight must be 4D, (out, in, height, width), got {w.shape}")
    b = Tensor(np.zeros(len(w)), dtype=given.dtype) if bias is None else as_tensor(bias)
    if b.shape != w.shape[:1]:
        raise ShapeError(f"conv2d's bias must have shape {w.shape[:1]}, got {b.shape}")
    return graph.apply(Conv2dBackward, given, w, b, stride=stride, padding=padding)


def max_pool2d(x: Any, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> Tensor:
    """Return the largest pixel of each window."""
    return MaxPool2d(kernel_size, stride, padding)(x)  # type: ignore[no-any-return]


def avg_pool2d(x: Any, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> Tensor:
    """Return the mean of each window."""
    return AvgPool2d(kernel_size, stride, padding)(x)  # type: ignore[no-any-return]
