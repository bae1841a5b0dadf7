"""Windows over images: where the patches of a convolution or a pooling lie, and what does not fit.

N images, C channels, H x W pixels; a kernel of kh x kw pixels fits oh x ow times. `kernel_size`,
`stride` and `padding` are an int or a (height, width) pair each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.spec import Array, Shape

Pair = int | Sequence[int]


def pair(value: Any, name: str, least: int) -> tuple[int, int]:
    """Return an int, or two, as a pair; raises InvalidValue for anything else or less."""
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
        kernel = pair(kernel_size, "kernel_size", 1)
        step = pair(stride, "stride", 1)
        border = pair(padding, "padding", 0)
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

    def of_one(self) -> Geometry:
        """Return the same windows over one channel of one image."""
        return replace(self, images=(1, 1, *self.images[2:]))

    def padded(self, x: Array, value: float = 0) -> Array:
        """Return images with their border, filled with `value`."""
        (ph, pw), (h, w) = self.padding, self.images[2:]
        roomy = np.full((*x.shape[:2], h + 2 * ph, w + 2 * pw), value, x.dtype)
        roomy[:, :, ph : ph + h, pw : pw + w] = x
        return roomy

    def cropped(self, padded: Array) -> Array:
        """Return images without their border."""
        (ph, pw), (h, w) = self.padding, self.images[2:]
        return padded[:, :, ph : ph + h, pw : pw + w]

    def places(self) -> Iterator[tuple[int, int, tuple[slice, ...]]]:
        """Yield each element (i, j) of the kernel with the pixels of padded images it meets."""
        for i in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                yield i, j, (slice(None), slice(None), *self.reached(i, j))


def pooling(
    x_shape: Shape, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0
) -> Geometry:
    """Return where a pooling's windows lie; without a stride, they lie side by side.

    Raises ShapeError or InvalidValue, also for a border of more than half a window.
    """
    found = Geometry.of(x_shape, kernel_size, kernel_size if stride is None else stride, padding)
    if any(2 * p > k for p, k in zip(found.padding, found.kernel, strict=True)):
        raise InvalidValue(
            f"padding must be at most half of the window, {found.kernel}, got {padding!r}"
        )
    return found


def pooled_from(
    dy_shape: Shape,
    kernel_size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    input_size: tuple[int, int] | None = None,
) -> Geometry:
    """Return the geometry of the pooling whose output has `dy_shape`.

    `input_size` (H, W) says which of the images that give as many windows; by default the least.
    """
    kernel = pair(kernel_size, "kernel_size", 1)
    step = kernel if stride is None else pair(stride, "stride", 1)
    border = pair(padding, "padding", 0)
    if len(dy_shape) != 4:
        raise ShapeError(f"a pooling's gradient must be 4D, (N, C, oh, ow), got {dy_shape}")
    least = [(dy_shape[2 + i] - 1) * step[i] + kernel[i] - 2 * border[i] for i in range(2)]
    size = pair(least if input_size is None else input_size, "input_size", 1)
    found = pooling((*dy_shape[:2], *size), kernel, step, border)
    if found.output != tuple(dy_shape[2:]):
        raise ShapeError(
            f"images of {size[0]}x{size[1]} pixels have {found.output[0]}x{found.output[1]} "
            f"windows, and the gradient's shape is {tuple(dy_shape)}"
        )
    return found
