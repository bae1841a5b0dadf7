"""What convolutions and pools compute with; images are (N, C, H, W)."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.core import compute
from tinytorch.errors import ShapeError
from tinytorch.kernels import patches
from tinytorch.kernels.patches import Geometry
from tinytorch.ops.spec import Array


def _geometry(x: Array, w: Array, stride: Any, padding: Any) -> Geometry:
    if x.ndim == 4 and x.shape[1] != w.shape[1]:
        raise ShapeError(
            f"an input of {x.shape[1]} channels does not match a weight for {w.shape[1]} channels: "
            f"shapes {x.shape} and {w.shape}"
        )
    return Geometry.of(x.shape, w.shape[2:], stride, padding)


def conv2d(x: Array, w: Array, b: Array, stride: Any, padding: Any) -> Array:
    """Return the convolution with kernels w (O, C, kh, kw) and bias b (O,)."""
    geometry = _geometry(x, w, stride, padding)
    flat = w.reshape(len(w), geometry.patch)
    product = compute.matmul(flat, patches.columns(x, geometry))
    product += b[:, None]
    return product.reshape(len(x), len(w), *geometry.output)


def conv2d_input_gradient(
    grad: Array, w: Array, stride: Any, padding: Any, input_size: tuple[int, int]
) -> Array:
    """Return the gradient of a convolution's images, from that of its output."""
    x_shape = (len(grad), w.shape[1], *input_size)
    geometry = Geometry.of(x_shape, w.shape[2:], stride, padding)
    flat = w.reshape(len(w), geometry.patch)
    cols = compute.matmul(flat.T, grad.reshape(len(grad), len(w), -1))
    (n, c, h, width), (ph, pw) = geometry.images, geometry.padding
    padded = np.zeros((n, c, h + 2 * ph, width + 2 * pw), grad.dtype)
    parts = cols.reshape(n, c, *geometry.kernel, *geometry.output)
    for i in range(geometry.kernel[0]):
        for j in range(geometry.kernel[1]):
            rows, places = geometry.reached(i, j)
            padded[:, :, rows, places] += parts[:, :, i, j]
    return padded[:, :, ph : ph + h, pw : pw + width]


def conv2d_weight_gradient(
    x: Array, grad: Array, stride: Any, padding: Any, kernel_size: tuple[int, int]
) -> Array:
    """Return the gradient of a convolution's kernels, from that of its output."""
    geometry = Geometry.of(x.shape, kernel_size, stride, padding)
    cols = patches.columns(x, geometry)
    per_image = compute.matmul(grad.reshape(*grad.shape[:2], -1), cols.swapaxes(1, 2))
    total: Array = per_image.sum(axis=0)
    return total.reshape(grad.shape[1], x.shape[1], *geometry.kernel)


def _padded(x: Array, geometry: Geometry, value: float) -> Array:
    ph, pw = geometry.padding
    if not ph and not pw:
        return x
    return np.pad(x, [(0, 0), (0, 0), (ph, ph), (pw, pw)], constant_values=value)


def _inside(padded: Array, geometry: Geometry) -> Array:
    ph, pw = geometry.padding
    h, w = geometry.images[2:]
    return padded[:, :, ph : ph + h, pw : pw + w]


def max_pool(x: Array, geometry: Geometry) -> tuple[Array, Array]:
    """Return the largest pixel of each window, and which one of the window it was."""
    padded = _padded(x, geometry, -np.inf)
    kh, kw = geometry.kernel
    best: Any = None
    for i in range(kh):
        for j in range(kw):
            rows, places = geometry.reached(i, j)
            pixels = padded[:, :, rows, places]
            if best is None:
                best = pixels.copy()
                which = np.zeros(best.shape, np.uint8 if kh * kw <= 256 else np.uint32)
                continue
            larger = ~(pixels <= best) & ~np.isnan(best)  # a NaN is kept once it is met
            np.copyto(best, pixels, where=larger)
            which[larger] = i * kw + j
    return best, which


def max_pool_gradient(grad: Array, which: Array, geometry: Geometry) -> Array:
    """Return the gradient of the pixels: each window's goes to its largest."""
    (n, c, h, w), (ph, pw), (kh, kw) = geometry.images, geometry.padding, geometry.kernel
    padded = np.zeros((n, c, h + 2 * ph, w + 2 * pw), grad.dtype)
    for i in range(kh):
        for j in range(kw):
            rows, places = geometry.reached(i, j)
            padded[:, :, rows, places] += grad * (which == i * kw + j)
    return _inside(padded, geometry)


def avg_pool(x: Array, geometry: Geometry) -> Array:
    """Return the mean of each window, zeros of the border included."""
    padded = _padded(x, geometry, 0)
    kh, kw = geometry.kernel
    total = np.zeros((*x.shape[:2], *geometry.output), x.dtype)
    for i in range(kh):
        for j in range(kw):
            rows, places = geometry.reached(i, j)
            total += padded[:, :, rows, places]
    total /= kh * kw
    return total


def avg_pool_gradient(grad: Array, geometry: Geometry) -> Array:
    """Return the gradient of the pixels: each window's is shared among them."""
    (n, c, h, w), (ph, pw), (kh, kw) = geometry.images, geometry.padding, geometry.kernel
    padded = np.zeros((n, c, h + 2 * ph, w + 2 * pw), grad.dtype)
    share = grad / grad.dtype.type(kh * kw)
    for i in range(kh):
        for j in range(kw):
            rows, places = geometry.reached(i, j)
            padded[:, :, rows, places] += share
    return _inside(padded, geometry)
