"""Rules of images, (N, C, H, W): convolution, pooling and batch normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.core import images
from tinytorch.core.graph import Rule
from tinytorch.core.images import Window
from tinytorch.ops.spec import Array


class Conv2dBackward(Rule):
    """The convolution of images with kernels (O, C, kh, kw), plus a bias (O,)."""

    __slots__ = ()
    fresh = True

    def forward(self, x: Array, w: Array, b: Array, stride: Any, padding: Any) -> Array:
        """Keep images and kernels, and no patches."""
        self.saved = x, w, stride, padding
        return images.conv2d(x, w, b, stride, padding)

    def backward(self, grad: Array) -> Any:
        """Both adjoints; the bias's gradient is the sum over images and pixels."""
        x, w, stride, padding = self.saved
        for_x, for_w, for_b = self.edges
        dx = dw = None
        if for_x is not None:
            dx = images.conv2d_input_gradient(grad, w, stride, padding, x.shape[2:])
        if for_w is not None:
            dw = images.conv2d_weight_gradient(x, grad, stride, padding, w.shape[2:])
        return dx, dw, None if for_b is None else grad.sum(axis=(0, 2, 3))


class MaxPoolBackward(Rule):
    """The largest pixel of each window."""

    __slots__ = ()
    fresh = True

    def forward(self, x: Array, window: Window) -> Array:
        """Keep x, where backward finds the largest again."""
        self.saved = x, window
        return images.max_pool(x, window)

    def backward(self, grad: Array) -> Any:
        """The gradient goes to that pixel, the first of equals."""
        x, window = self.saved
        return images.max_pool_gradient(x, grad, window)


class AvgPoolBackward(Rule):
    """The mean of each window; a border of padding counts."""

    __slots__ = ()
    fresh = True

    def forward(self, x: Array, window: Window) -> Array:
        """Keep nothing."""
        self.saved = window, x.shape[2:]
        return images.avg_pool(x, window)

    def backward(self, grad: Array) -> Any:
        """The gradient's share goes to every pixel."""
        return images.avg_pool_gradient(grad, *self.saved)


class BatchNormBackward(Rule):
    """Each channel less its mean, over its deviation, times gamma, plus beta.

    Ioffe and Szegedy, 2015. With `batch`, mean and variance are this batch's, and move with it.
    """

    __slots__ = ()
    fresh = True

    def forward(
        self,
        x: Array,
        gamma: Array,
        beta: Array,
        moments: tuple[Array, Array],
        eps: float,
        batch: bool,
    ) -> Array:
        """Compute on the backend, and keep x."""
        gain, offset = (v.astype(x.dtype, copy=False) for v in (gamma, beta))
        held = tuple(np.array(m, x.dtype) for m in moments)  # copies, for running ones move on
        self.saved = x, *held, gain, eps, batch
        return images.batch_norm(x, held, gain, offset, eps)

    def backward(self, grad: Array) -> Any:
        """As layer normalisation's, over images and pixels; a fixed mean has no gradient."""
        x, mean, var, gain, eps, batch = self.saved
        return images.batch_norm_gradient(x, (mean, var), gain, grad, eps, batch)
