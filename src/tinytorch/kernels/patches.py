"""Patches of images as matrices, so that a convolution becomes a product.

N images, C channels, H x W pixels; a kernel of kh x kw pixels fits oh x ow times. `kernel_size`,
`stride` and `padding` are an int or a (height, width) pair each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.spec import Array, Shape

Pair = int | Sequence[int]


def _pair(value: Any, name: str, least: int) -> tuple[int, int]:
    both = tuple(value) if isinstance(value, tuple | list) else (value, value)
    whole = all(hasattr(n, "__index__") and not isinstance(n, bool) for n in both)
    if len(both) != 2 or not whole or min(both) < least:
        raise InvalidValue(f"{name} must be an int of at least {least}, or two, got {value!r}")
    return int(both[0]), int(both[1])


@dataclass(frozen=True)
class Geometry:
    """Where the patches of images of one shape lie; pairs are (height, width)."""

    images: tuple[int, int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    output: tuple[int, int]

    @classmethod
    def of(cls, x_shape: Shape, kernel_size: Pair, stride: Pair = 1, padding: Pair = 0) -> Geometry:
        """Check and complete a description; raises ShapeError or InvalidValue."""
        if len(x_shape) != 4:
            raise ShapeError(
                f"images must be 4D, (N, channels, height, width), got shape {tuple(x_shape)}: "
                "add the missing axes, e.g. x[None, None]"
            )
        kernel = _pair(kernel_size, "kernel_size", 1)
        step = _pair(stride, "stride", 1)
        border = _pair(padding, "padding", 0)
        n, c, h, w = (int(size) for size in x_shape)
        roomy = (h + 2 * border[0], w + 2 * border[1])
        if roomy[0] < kernel[0] or roomy[1] < kernel[1]:
            raise ShapeError(
                f"a kernel of {kernel[0]}x{kernel[1]} does not fit into {h}x{w} pixels with "
                f"padding {border}: use a smaller kernel or more padding"
            )
        output = tuple((roomy[i] - kernel[i]) // step[i] + 1 for i in range(2))
        return cls((n, c, h, w), kernel, step, border, (output[0], output[1]))

    @property
    def patch(self) -> int:
        """Elements of a patch: C kh kw."""
        return self.images[1] * self.kernel[0] * self.kernel[1]

    def reached(self, i: int, j: int) -> tuple[slice, slice]:
        """Return the pixels of a padded image that the kernel's element (i, j) meets."""
        starts, (sh, sw), (oh, ow) = (i, j), self.stride, self.output
        ends = (i + sh * (oh - 1) + 1, j + sw * (ow - 1) + 1)
        return slice(starts[0], ends[0], sh), slice(starts[1], ends[1], sw)


def _windows(x: Array, geometry: Geometry) -> Array:
    """Return a view of (padded) images as (N, C, kh, kw, oh, ow)."""
    (n, c, h, w), (ph, pw), (sh, sw) = geometry.images, geometry.padding, geometry.stride
    if ph or pw:
        padded = np.zeros((n, c, h + 2 * ph, w + 2 * pw), x.dtype)
        padded[:, :, ph : ph + h, pw : pw + w] = x
        x = padded
    view = np.lib.stride_tricks.sliding_window_view(x, geometry.kernel, (2, 3), writeable=True)
    return view[:, :, ::sh, ::sw].transpose(0, 1, 4, 5, 2, 3)


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
    for i in range(kh):
        for j in range(kw):
            rows, places = geometry.reached(i, j)
            padded[:, :, rows, places] += patches[:, :, i, j]
    return np.ascontiguousarray(padded[:, :, ph : ph + h, pw : pw + w])
