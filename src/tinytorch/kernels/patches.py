"""Patches of images as matrices, so that a convolution becomes a product.

N images, C channels, H x W pixels; a kernel of kh x kw pixels fits oh x ow times. `kernel_size`,
`stride` and `padding` are an int or a (height, width) pair each.
"""

from __future__ import annotations

import math

import numpy as np

from tinytorch.errors import ShapeError
from tinytorch.ops.spec import Array, Shape
from tinytorch.ops.windows import Geometry, Pair


def _windows(x: Array, geometry: Geometry) -> Array:
    """Return a view of (padded) images as (N, C, kh, kw, oh, ow)."""
    sh, sw = geometry.stride
    if any(geometry.padding):
        x = geometry.padded(x)
    view = np.lib.stride_tricks.sliding_window_view(x, geometry.kernel, (2, 3), writeable=True)
    return view[:, :, ::sh, ::sw].transpose(0, 1, 4, 5, 2, 3)


def windows(x: Array, geometry: Geometry, border: float) -> Array:
    """Return the windows of every channel as rows, (N C oh ow, kh kw), `border` around images."""
    padded = geometry.padded(x, border)
    view = np.lib.stride_tricks.sliding_window_view(padded, geometry.kernel, (2, 3))
    (sh, sw), (kh, kw) = geometry.stride, geometry.kernel
    strided = view[:, :, ::sh, ::sw]
    return strided.reshape(math.prod(strided.shape[:4]), kh * kw)


def im2col(x: Array, kernel_size: Pair, stride: Pair = 1, padding: Pair = 0) -> Array:
    """Return the patches of images (N, C, H, W) as rows: a new array (N oh ow, C kh kw).

    A row holds a patch channel by channel, as `weight.reshape(O, -1)` holds a kernel. Raises
    ShapeError for images that are not 4D or are smaller than the kernel.
    """
    geometry = Geometry.of(x.shape, kernel_size, stride, padding)
    oh, ow = geometry.output
    rows = _windows(x, geometry).transpose(0, 4, 5, 1, 2, 3).copy()
    return rows.reshape(x.shape[0] * oh * ow, geometry.patch)


def columns(x: Array, geometry: Geometry) -> Array:
    """Return the patches as columns, (N, C kh kw, oh ow), for `weight @ columns` in NCHW order.

    Whole rows of pixels are copied at a time, where `im2col` copies rows of a patch. A kernel of
    one pixel needs no copy, so the result may share memory with x.
    """
    oh, ow = geometry.output
    return _windows(x, geometry).reshape(x.shape[0], geometry.patch, oh * ow)


def col2im(
    cols: Array, x_shape: Shape, kernel_size: Pair, stride: Pair = 1, padding: Pair = 0
) -> Array:
    """Add patches (N oh ow, C kh kw) up into images of `x_shape`, overlaps summed.

    The adjoint of `im2col`: sum(im2col(x) * c) = sum(x * col2im(c)) for all x and c, which makes it
    its gradient. Raises ShapeError where the shapes don't belong to each other.
    """
    geometry = Geometry.of(x_shape, kernel_size, stride, padding)
    (n, c, h, w), (kh, kw), (oh, ow) = geometry.images, geometry.kernel, geometry.output
    expected = (n * oh * ow, geometry.patch)
    if cols.shape != expected:
        raise ShapeError(
            f"cols of shape {cols.shape} does not match images of shape {tuple(x_shape)}, whose "
            f"patches make {expected}"
        )
    ph, pw = geometry.padding
    padded = np.zeros((n, c, h + 2 * ph, w + 2 * pw), cols.dtype)
    patches = cols.reshape(n, oh, ow, c, kh, kw).transpose(0, 3, 4, 5, 1, 2)
    for i, j, pixels in geometry.places():
        padded[pixels] += patches[:, :, i, j]
    return np.ascontiguousarray(geometry.cropped(padded))
