"""Layers of images, (N, C, H, W): convolution, pooling, batch normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinytorch.core import graph, randomness
from tinytorch.core.images import Window, channel_moments
from tinytorch.core.layers import Layer, Linear, as_tensor, positive_int
from tinytorch.core.rules.images import (
    AvgPoolBackward,
    BatchNormBackward,
    Conv2dBackward,
    MaxPoolBackward,
)
from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.windows import Geometry

__all__ = ["AvgPool2d", "BatchNorm2d", "Conv2d", "MaxPool2d", "SimpleCNN"]

Pair = int | Sequence[int]


def _images(x: Any, what: str, channels: int | None = None) -> Tensor:
    given = as_tensor(x)
    shape = given.shape
    if len(shape) != 4:
        raise ShapeError(
            f"{what} takes 4D images (N, channels, height, width), got shape {shape}: add the "
            "missing axes, e.g. x.unsqueeze(0)"
        )
    if channels is not None and shape[1] != channels:
        raise ShapeError(f"{what} takes images of {channels} channels, got {shape[1]}: {shape}")
    return given


class Conv2d(Layer):
    """The cross-correlation of images with `out_channels` kernels, plus a bias.

    weight (out_channels, in_channels, kh, kw), drawn with standard deviation sqrt(2 / fan-in) (He
    et al., 2015); sizes are an int or a (height, width) pair.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        bias: bool = True,
    ) -> None:
        """Draw the weights. Raises InvalidValue for sizes below 1 or a padding below 0."""
        self.in_channels = positive_int(in_channels, "in_channels")
        self.out_channels = positive_int(out_channels, "out_channels")
        checked = Geometry.of((1, 1, 10**6, 10**6), kernel_size, stride, padding)
        self.kernel_size, self.stride = checked.kernel, checked.stride
        self.padding = checked.padding
        shape = (out_channels, in_channels, *self.kernel_size)
        drawn = randomness.normal(shape, math.sqrt(2 / math.prod(shape[1:])))
        self.weight = Tensor(drawn, requires_grad=True)
        self.bias = Tensor(np.zeros(out_channels), requires_grad=True) if bias else None

    def forward(self, x: Any) -> Tensor:
        """Return (N, out_channels, oh, ow) for images (N, in_channels, H, W)."""
        x = _images(x, "Conv2d", self.in_channels)
        bias = self.bias
        if bias is None:
            bias = Tensor(np.zeros(self.out_channels), dtype=x.dtype)
        return graph.apply(
            Conv2dBackward, x, self.weight, bias, stride=self.stride, padding=self.padding
        )

    def __repr__(self) -> str:
        return (
            f"Conv2d({self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}, padding={self.padding}, bias={self.bias is not None})"
        )


class _Pool(Layer):
    """What pools share: a window, its steps and its border."""

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> None:
        """Keep the window; it moves by its own size unless `stride` says otherwise."""
        step = kernel_size if stride is None else stride
        checked = Geometry.of((1, 1, 10**6, 10**6), kernel_size, step, padding)
        self.kernel_size, self.stride = checked.kernel, checked.stride
        self.padding = checked.padding
        if any(2 * p > k for p, k in zip(self.padding, self.kernel_size, strict=True)):
            raise InvalidValue(
                f"a border of {self.padding} is more than half of a window {self.kernel_size}: "
                "windows would lie outside of the image"
            )

    @property
    def window(self) -> Window:
        """The window as ops take it."""
        return Window(self.kernel_size, self.stride, self.padding)

    def __repr__(self) -> str:
        sizes = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return f"{type(self).__name__}({sizes})"


class MaxPool2d(_Pool):
    """The largest pixel of each window; a border never wins."""

    def forward(self, x: Any) -> Tensor:
        """Return (N, C, oh, ow) for images (N, C, H, W)."""
        x = _images(x, "MaxPool2d")
        return graph.apply(MaxPoolBackward, x, window=self.window)


class AvgPool2d(_Pool):
    """The mean of each window; a border counts as zeros, as in PyTorch."""

    def forward(self, x: Any) -> Tensor:
        """Return (N, C, oh, ow) for images (N, C, H, W)."""
        x = _images(x, "AvgPool2d")
        return graph.apply(AvgPoolBackward, x, window=self.window)


class BatchNorm2d(Layer):
    """Each channel less its mean, over its standard deviation, times gamma, plus beta.

    In training the moments are the batch's, and running ones follow with `momentum` (the variance
    without bias, as in PyTorch); in use (`eval()`) the running ones are taken.
    """

    buffers = ("running_mean", "running_var")

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        """Start with gamma 1 and beta 0. Raises InvalidValue for settings outside their range."""
        self.num_features = positive_int(num_features, "num_features")
        if not eps > 0 or not 0 <= momentum <= 1:
            raise InvalidValue(
                f"BatchNorm2d takes eps above 0 and momentum from 0 to 1, got {eps!r}, {momentum!r}"
            )
        self.eps, self.momentum = eps, momentum
        self.gamma = Tensor(np.ones(num_features), requires_grad=True)
        self.beta = Tensor(np.zeros(num_features), requires_grad=True)
        self.running_mean = np.zeros(num_features, np.float32)
        self.running_var = np.ones(num_features, np.float32)

    def forward(self, x: Any) -> Tensor:
        """Return images of the same shape (N, C, H, W)."""
        x = _images(x, "BatchNorm2d", self.num_features)
        moments = self.running_mean, self.running_var
        if self.training:
            moments = self._batch_moments(x)
        return graph.apply(
            BatchNormBackward,
            x,
            self.gamma,
            self.beta,
            moments=moments,
            eps=float(self.eps),
            batch=self.training,
        )

    def _batch_moments(self, x: Tensor) -> Any:
        count = x.size // self.num_features
        if count < 2:
            raise ShapeError(
                f"BatchNorm2d needs more than one value a channel to train, got shape {x.shape}: "
                "use a larger batch, or eval()"
            )
        mean, var = channel_moments(x._data)
        self.running_mean += self.momentum * (mean - self.running_mean)
        self.running_var += self.momentum * (var * (count / (count - 1)) - self.running_var)
        return mean, var

    def __repr__(self) -> str:
        return f"BatchNorm2d({self.num_features}, eps={self.eps}, momentum={self.momentum})"


class SimpleCNN(Layer):
    """Two convolutions with pools, and a linear classifier, for images (N, 3, 32, 32)."""

    def __init__(self, num_classes: int = 10) -> None:
        """Draw the weights."""
        self.conv1 = Conv2d(3, 16, kernel_size=3, padding=1)
        self.conv2 = Conv2d(16, 32, kernel_size=3, padding=1)
        self.pool = MaxPool2d(2)
        self.fc = Linear(32 * 8 * 8, num_classes)

    def forward(self, x: Any) -> Tensor:
        """Return logits (N, num_classes)."""
        x = _images(x, "SimpleCNN", 3)
        x = self.pool(self.conv1(x).relu())
        x = self.pool(self.conv2(x).relu())
        return self.fc(x.flatten(1))  # type: ignore[no-any-return]
