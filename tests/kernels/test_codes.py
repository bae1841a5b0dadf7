"""INT8 codes: rounding, saturation, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from tinytorch.errors import InvalidValue
from tinytorch.kernels import codes


def test_floats_are_divided_rounded_to_even_and_saturated() -> None:
    values = np.array([0.0, 0.5, 1.5, 2.5, -2.5, 63.4, 64.6, -64.6, 1e30, np.inf, -np.inf])
    expected = [0, 1, 3, 5, -5, 127, 127, -128, 127, 127, -128]
    found = codes.codes_of(values, 0.5, "x")
    assert found.dtype == np.int8
    assert found.tolist() == expected
    assert codes.codes_of(np.array([0.5, 1.5, 2.5]), 1.0, "x").tolist() == [0, 2, 2]


@pytest.mark.parametrize("dtype", ["int8", "int16", "int64", "uint8", "uint64", "bool"])
def test_integers_are_codes_already(dtype: str) -> None:
    values = np.array([0, 1, 100]).astype(dtype)
    assert codes.codes_of(values, 0.1, "x").tolist() == values.astype(int).tolist()


def test_wider_integers_saturate() -> None:
    assert codes.codes_of(np.array([-129, 128, -(2**62)]), 1.0, "x").tolist() == [-128, 127, -128]
    assert codes.codes_of(np.array([200, 2**63], np.uint64), 1.0, "x").tolist() == [127, 127]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_nan_is_refused_by_name(dtype: str) -> None:
    with pytest.raises(InvalidValue, match="A holds NaN"):
        codes.codes_of(np.array([1, np.nan], dtype), 1.0, "A")


def test_float16_is_not_divided_in_float16() -> None:
    assert codes.codes_of(np.array([6e4], np.float16), 1e5, "x").tolist() == [1]


@pytest.mark.parametrize("scale", [0, -1.0, np.nan, np.inf, 1e300, 1e-300, "x", None, [1.0, 2.0]])
def test_a_scale_is_a_positive_number(scale: object) -> None:
    with pytest.raises(InvalidValue, match="scale_A must be a positive number"):
        codes.checked_scale(scale, "scale_A")


def test_values_are_rounded_once() -> None:
    total = np.array([2**24 + 1], np.int32)
    assert codes.values_of(total, 0.1)[0] == np.float32((2**24 + 1) * 0.1)
    assert codes.values_of(total, 0.1).dtype == np.float32


def test_the_largest_depth_is_safe_and_the_next_is_not() -> None:
    assert codes.LARGEST_DEPTH * 128 * 128 < 2**31 <= (codes.LARGEST_DEPTH + 1) * 128 * 128
