"""Random changes of images (..., H, W), Tensors or arrays: what comes in comes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinytorch.core import randomness
from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.spec import Array


def _like(x: Any, array: Array) -> Any:
    array = np.ascontiguousarray(array)
    return Tensor(array, dtype=array.dtype) if isinstance(x, Tensor) else array


def _image(x: Any, what: str) -> Array:
    array = np.asarray(x._data if isinstance(x, Tensor) else x)
    if array.ndim < 2:
        raise ShapeError(f"{what} takes images (..., H, W), got shape {array.shape}")
    return array


class RandomHorizontalFlip:
    """Turn an image left to right with probability p."""

    def __init__(self, p: float = 0.5) -> None:
        """Keep the probability. Raises InvalidValue unless 0 <= p <= 1."""
        if not 0 <= p <= 1:
            raise InvalidValue(f"RandomHorizontalFlip's p is from 0 to 1, got {p!r}")
        self.p = p

    def __call__(self, x: Any) -> Any:
        """Return the image, turned or not."""
        image = _image(x, "RandomHorizontalFlip")
        return _like(x, image[..., ::-1]) if randomness.uniform(()) < self.p else x


class RandomCrop:
    """Add a border of zeros, and cut a part of `size` out at a random place."""

    def __init__(self, size: int | tuple[int, int], padding: int = 4) -> None:
        """Keep height and width (one number for both) and the border's width."""
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.padding = padding
        if len(self.size) != 2 or min(self.size) < 1 or padding < 0:
            raise InvalidValue(
                f"RandomCrop takes a size of at least 1 and a padding of at least 0, got {size!r} "
                f"and {padding!r}"
            )

    def __call__(self, x: Any) -> Any:
        """Return the part. Raises ShapeError where the image with its border is too small."""
        image = _image(x, "RandomCrop")
        border = [(0, 0)] * (image.ndim - 2) + [(self.padding, self.padding)] * 2
        padded = np.pad(image, border)
        free = [have - want for have, want in zip(padded.shape[-2:], self.size, strict=True)]
        if min(free) < 0:
            raise ShapeError(
                f"can't cut {self.size} out of an image {image.shape} with {self.padding} around it"
            )
        top, left = (int(randomness.uniform(()) * (room + 1)) for room in free)
        return _like(x, padded[..., top : top + self.size[0], left : left + self.size[1]])


class Compose:
    """Transforms, one after the other."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        """Keep the transforms."""
        self.transforms = list(transforms)

    def __call__(self, x: Any) -> Any:
        """Apply them in order."""
        for transform in self.transforms:
            x = transform(x)
        return x
