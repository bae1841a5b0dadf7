"""im2col and col2im against plain loops, and against each other."""

from __future__ import annotations

import numpy as np
import pytest

from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.kernels import patches
from tinytorch.kernels.patches import Geometry

# Shape, kernel_size, stride, padding.
CASES = [
    ((1, 1, 3, 3), 1, 1, 0),
    ((1, 1, 3, 3), 3, 1, 0),
    ((2, 3, 5, 6), 3, 1, 1),
    ((2, 2, 7, 5), 2, 2, 0),
    ((1, 2, 8, 8), 3, 3, 1),
    ((3, 1, 5, 9), (2, 3), (1, 2), (0, 1)),
    ((2, 2, 4, 4), (1, 4), (3, 1), (2, 0)),
    ((0, 2, 4, 4), 3, 1, 0),
    ((2, 0, 4, 4), 3, 1, 0),
]


def whole_numbers(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Values whose sums and products are exact in float64."""
    return np.random.default_rng(seed).integers(-50, 50, shape).astype(np.float64)


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def im2col_by_loops(x: np.ndarray, kernel_size, stride, padding) -> list[list[float]]:
    (kh, kw), (sh, sw), (ph, pw) = pair(kernel_size), pair(stride), pair(padding)
    n, c, h, w = x.shape
    rows = []
    for image in range(n):
        for top in range(-ph, h + ph - kh + 1, sh):
            for left in range(-pw, w + pw - kw + 1, sw):
                row = []
                for channel in range(c):
                    for i in range(top, top + kh):
                        for j in range(left, left + kw):
                            inside = 0 <= i < h and 0 <= j < w
                            row.append(x[image, channel, i, j] if inside else 0.0)
                rows.append(row)
    return rows


@pytest.mark.parametrize(("shape", "kernel_size", "stride", "padding"), CASES)
def test_im2col_is_what_the_loops_say(shape, kernel_size, stride, padding) -> None:
    x = whole_numbers(shape)
    cols = patches.im2col(x, kernel_size, stride, padding)
    geometry = Geometry.of(shape, kernel_size, stride, padding)
    assert cols.shape == (shape[0] * geometry.output[0] * geometry.output[1], geometry.patch)
    expected = im2col_by_loops(x, kernel_size, stride, padding)
    np.testing.assert_array_equal(cols, np.array(expected).reshape(cols.shape))


@pytest.mark.parametrize(("shape", "kernel_size", "stride", "padding"), CASES)
def test_col2im_is_the_exact_adjoint(shape, kernel_size, stride, padding) -> None:
    x = whole_numbers(shape)
    cols = patches.im2col(x, kernel_size, stride, padding)
    c = whole_numbers(cols.shape, seed=1)
    back = patches.col2im(c, shape, kernel_size, stride, padding)
    assert back.shape == shape
    assert np.sum(cols * c) == np.sum(x * back)


def test_col2im_counts_how_often_a_pixel_is_covered() -> None:
    ones = np.ones((4, 4))
    back = patches.col2im(ones, (1, 1, 3, 3), 2)
    np.testing.assert_array_equal(back[0, 0], [[1, 2, 1], [2, 4, 2], [1, 2, 1]])


@pytest.mark.parametrize(("shape", "kernel_size", "stride", "padding"), CASES)
def test_columns_hold_the_same_patches(shape, kernel_size, stride, padding) -> None:
    x = whole_numbers(shape)
    geometry = Geometry.of(shape, kernel_size, stride, padding)
    rows = patches.im2col(x, kernel_size, stride, padding)
    places = geometry.output[0] * geometry.output[1]
    expected = rows.reshape(shape[0], places, geometry.patch).transpose(0, 2, 1)
    np.testing.assert_array_equal(patches.columns(x, geometry), expected)


@pytest.mark.parametrize("kernel_size", [1, 2])
def test_im2col_gives_memory_of_its_own(kernel_size: int) -> None:
    x = whole_numbers((1, 1, 4, 4))
    before = x.copy()
    patches.im2col(x, kernel_size)[...] = 99
    np.testing.assert_array_equal(x, before)
    x.flags.writeable = False
    assert patches.im2col(x, kernel_size).flags.writeable


def test_strided_images_and_other_dtypes() -> None:
    x = whole_numbers((2, 2, 8, 6))[:, :, ::2, ::-1].astype(np.int16)
    cols = patches.im2col(x, 3, padding=1)
    assert cols.dtype == np.int16
    np.testing.assert_array_equal(cols, im2col_by_loops(x, 3, 1, 1))
    assert patches.col2im(cols.astype(np.float32), x.shape, 3, padding=1).dtype == np.float32


def test_images_must_be_4d() -> None:
    with pytest.raises(ShapeError, match=r"4D.*\(3, 3\)"):
        patches.im2col(np.ones((3, 3)), 2)
    with pytest.raises(ShapeError, match="4D"):
        patches.col2im(np.ones((3, 3)), (3, 3), 2)


def test_a_kernel_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"5x5 does not fit into 3x4"):
        patches.im2col(np.ones((1, 1, 3, 4)), 5)


def test_columns_of_other_images_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(5, 4\) does not match .*\(4, 4\)"):
        patches.col2im(np.ones((5, 4)), (1, 1, 3, 3), 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kernel_size": 0},
        {"kernel_size": 2.0},
        {"kernel_size": (2, 2, 2)},
        {"kernel_size": True},
        {"kernel_size": 2, "stride": 0},
        {"kernel_size": 2, "stride": (1, 0)},
        {"kernel_size": 2, "padding": -1},
        {"kernel_size": 2, "padding": "same"},
    ],
)
def test_bad_sizes_are_refused(wrong) -> None:
    with pytest.raises(InvalidValue, match=next(reversed(wrong))):
        patches.im2col(np.ones((1, 1, 4, 4)), **wrong)
