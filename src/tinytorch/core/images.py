"""What convolutions, pools and batch normalisation compute with; images are (N, C, H, W)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from tinytorch.backends import get_backend
from tinytorch.ops.spec import Array


class Window(NamedTuple):
    """A pool's window, as ops take it; pairs are (height, width)."""

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


def conv2d(x: Array, w: Array, b: Array, stride: Any, padding: Any) -> Array:
    """Return the convolution with kernels w (O, C, kh, kw) and bias b (O,)."""
    return get_backend().dispatch("conv2d", x, w, b, stride=stride, padding=padding)


def conv2d_input_gradient(
    grad: Array, w: Array, stride: Any, padding: Any, input_size: tuple[int, int]
) -> Array:
    """Return the gradient of a convolution's images, from that of its output."""
    return get_backend().dispatch(
        "conv2d_input_gradient", grad, w, stride=stride, padding=padding, input_size=input_size
    )


def conv2d_weight_gradient(
    x: Array, grad: Array, stride: Any, padding: Any, kernel_size: tuple[int, int]
) -> Array:
    """Return the gradient of a convolution's kernels, from that of its output."""
    return get_backend().dispatch(
        "conv2d_weight_gradient", x, grad, stride=stride, padding=padding, kernel_size=kernel_size
    )


def max_pool(x: Array, window: Window) -> Array:
    """Return the largest pixel of each window."""
    return get_backend().dispatch("max_pool2d", x, **window._asdict())


def max_pool_gradient(x: Array, grad: Array, window: Window) -> Array:
    """Return the gradient of the pixels: each window's goes to its largest, the first of equals."""
    return get_backend().dispatch("max_pool2d_gradient", x, grad, **window._asdict())


def avg_pool(x: Array, window: Window) -> Array:
    """Return the mean of each window, zeros of the border included."""
    return get_backend().dispatch("avg_pool2d", x, **window._asdict())


def avg_pool_gradient(grad: Array, window: Window, input_size: tuple[int, int]) -> Array:
    """Return the gradient of the pixels: each window's is shared among them."""
    return get_backend().dispatch(
        "avg_pool2d_gradient", grad, **window._asdict(), input_size=input_size
    )


def _rows(x: Array) -> Array:
    """Return images as ops on channels take them: (N, C, H W)."""
    return x.reshape(*x.shape[:2], math.prod(x.shape[2:]))


def channel_moments(x: Array) -> Any:
    """Return each channel's mean and variance over images and pixels, (C,) both."""
    return get_backend().dispatch("channel_moments", _rows(x))


def batch_norm(x: Array, moments: Any, gain: Array, bias: Array, eps: float) -> Array:
    """Return each channel less its mean, over its deviation, times gain, plus bias."""
    y = get_backend().dispatch("batch_norm", _rows(x), *moments, gain, bias, eps=eps)
    return y.reshape(x.shape)


def batch_norm_gradient(
    x: Array, moments: Any, gain: Array, grad: Array, eps: float, batch: bool
) -> Any:
    """Return the gradients of x, gain and bias; with `batch`, the moments move with x."""
    arrays = _rows(x), *moments, gain, _rows(grad)
    dx, *others = get_backend().dispatch("batch_norm_gradient", *arrays, eps=eps, batch=batch)
    return dx.reshape(x.shape), *others
