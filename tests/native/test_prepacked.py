"""A weight packed beforehand gives, bit for bit, what the same weight gives unpacked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinytorch.errors import ShapeError, UnsupportedInput
from tinytorch.kernels.gemm import gemm, prepack
from tinytorch.native import threads

SHAPES = [(1, 1, 1), (3, 5, 7), (16, 384, 130), (65, 700, 45), (8, 0, 5), (0, 4, 9), (200, 40, 300)]


def _drawn(*shape: int, dtype: str = "float32") -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(sum(shape))
    return rng.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SHAPES, ids=str)
def test_the_product_is_the_same(size: tuple[int, int, int], dtype: str) -> None:
    M, K, N = size
    a, b = _drawn(M, K, dtype=dtype), _drawn(K, N, dtype=dtype)
    extras = {"bias": _drawn(N, dtype=dtype), "residual": _drawn(M, N, dtype=dtype)}
    for weight in (b, np.asfortranarray(b), b[::-1, ::-1]):
        packed = prepack(weight)
        assert packed.shape == (K, N)
        for activation in (None, "relu", "gelu", "gelu_erf"):
            found = gemm(a, packed, activation=activation, **extras)
            wanted = gemm(a, weight, activation=activation, **extras)
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_threads_and_batches_change_nothing() -> None:
    a, b = _drawn(4, 130, 260), _drawn(260, 200)
    packed = prepack(b)
    together = gemm(a, packed)
    with threads.use_threads(1):
        alone = gemm(a, packed)
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together[2], gemm(a[2], packed))


def test_an_output_of_any_strides_is_filled() -> None:
    a, b = _drawn(37, 70), _drawn(70, 45)
    out = np.zeros((45, 37), np.float32).T
    assert gemm(a, prepack(b), out) is out
    np.testing.assert_allclose(out, gemm(a, b), rtol=1e-5, atol=1e-5)


def test_a_packed_weight_is_a_copy() -> None:
    a, b = _drawn(8, 8), _drawn(8, 8)
    packed, before = prepack(b), gemm(a, b)
    b[...] = 0
    np.testing.assert_array_equal(gemm(a, packed), before)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ShapeError, match="one matrix"):
        prepack(_drawn(2, 3, 4))
    with pytest.raises(UnsupportedInput, match="float16"):
        prepack(_drawn(3, 4).astype(np.float16))
    with pytest.raises(ShapeError, match="inner dimensions 5 and 3"):
        gemm(_drawn(2, 5), prepack(_drawn(3, 4)))
    with pytest.raises(UnsupportedInput, match="float64"):
        gemm(_drawn(2, 3, dtype="float64"), prepack(_drawn(3, 4)))
