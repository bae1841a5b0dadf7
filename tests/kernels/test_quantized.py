"""quantized_linear: exact sums, codes near their values, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from tinytorch.errors import InvalidValue, ShapeError, UnsupportedInput
from tinytorch.kernels import quantized
from tinytorch.kernels.quantized import Codes, prepack, quantized_linear
from tinytorch.measure.int8_peak import measure_peak
from tinytorch.native import level
from tinytorch.native.int8 import dots
from tinytorch.ops import gelu

X86 = level._is_x86()
NAMES = ["emulated", "portable", *(("maddubs", "int16") if X86 else ())]


def layer(M=33, K=100, N=37, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((M, K)).astype(np.float32)
    w = (rng.standard_normal((K, N)) / 10).astype(np.float32)
    return x, w, rng.standard_normal(N).astype(np.float32)


def cosine(a, b):
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    return a @ b / np.sqrt((a @ a) * (b @ b))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
def test_a_layer_is_near_its_float_form(monkeypatch, name, activation):
    monkeypatch.setenv("TINYTORCH_INT8", name)
    x, w, b = layer()
    found = quantized_linear(x, prepack(w), b, activation)
    z = x.astype(np.float64) @ w + b
    wanted = {"none": z, "relu": np.maximum(z, 0), "gelu": gelu.OP.reference(z)}[activation]
    assert found.dtype == np.float32
    assert cosine(found, wanted) > 0.9995
    assert not np.array_equal(found, quantized_linear(x, prepack(w), None, activation))


@pytest.mark.parametrize("name", ["emulated", "portable"])
def test_given_codes_are_multiplied_exactly(monkeypatch, name):
    monkeypatch.setenv("TINYTORCH_INT8", name)
    rng = np.random.default_rng(0)
    w = rng.integers(-127, 127, (90, 35), np.int8, endpoint=True)
    weight = prepack(w, np.full(35, 0.25, np.float32))
    for dtype in (np.uint8, np.int8):
        info = np.iinfo(dtype)
        x = rng.integers(info.min, info.max, (2, 5, 90), dtype, endpoint=True)
        found = quantized_linear(x, weight, codes=Codes(0.5, 3))
        exact = (x.astype(np.int64) - 3) @ w.astype(np.int64)
        assert np.array_equal(found, exact * 0.125)


def test_static_spans_saturate_and_hold_for_all_rows():
    x, w, _ = layer()
    weight = prepack(w, activation_bits=8)
    found = quantized_linear(x, weight, span=(-1.0, 1.0))
    clipped = np.clip(x, -1, 1)
    assert cosine(found, clipped @ w) > 0.999
    alone = quantized_linear(x[3:4], weight, span=(-1.0, 1.0))
    assert np.array_equal(alone, found[3:4])


def test_rows_are_quantised_apart_and_nan_stays_in_its_row():
    x, w, b = layer()
    weight = prepack(w)
    expected = quantized_linear(x, weight, b)
    x[1] *= 1e6
    x[2, 5], x[3, 7] = np.nan, np.inf
    found = quantized_linear(x, weight, b)
    assert np.isnan(found[2:4]).all()
    others = [0, *range(4, len(x))]
    assert np.array_equal(found[others], expected[others])


@pytest.mark.parametrize("shape", [(100,), (0, 100), (1, 100), (2, 3, 100)])
def test_any_rank_and_layout(shape):
    _, w, b = layer()
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    weight = prepack(np.asfortranarray(w))
    expected = quantized_linear(x, prepack(w), b)
    assert expected.shape == (*shape[:-1], 37)
    strided = np.repeat(x, 2, axis=-1)[..., ::2]
    assert np.array_equal(quantized_linear(strided, weight, b), expected)
    out = np.empty((*shape[:-1], 74), np.float32)[..., ::2]
    assert quantized_linear(x, weight, b, out=out) is out
    assert np.array_equal(out, expected)


def test_weights_become_codes_by_column():
    w = np.array([[1.0, 0.0, -4.0], [-0.5, 0.0, 1.0]], np.float32)
    codes, scales = quantized.weight_codes(w)
    assert codes.tolist() == [[127, 0, -127], [-64, 0, 32]]
    np.testing.assert_allclose(scales, [1 / 127, 1, 4 / 127], rtol=1e-6)
    _, big, _ = layer(K=512, N=512)
    assert prepack(big).nbytes < 0.35 * big.nbytes
    assert prepack(big).activation_bits == (7 if dots.fastest().name == "maddubs" else 8)
    assert prepack(big, activation_bits=8).activation_bits == 8


def test_the_peak_is_that_of_a_real_loop():
    rate, name = measure_peak(1, seconds=0.05)
    assert name == dots.fastest().name
    assert 0.05 < rate < 5000


def test_what_does_not_fit_is_refused():
    x, w, b = layer()
    weight = prepack(w)
    with pytest.raises(ShapeError, match="does not match the weight"):
        quantized_linear(x[:, 1:], weight)
    with pytest.raises(ShapeError, match="bias must have shape"):
        quantized_linear(x, weight, b[1:])
    with pytest.raises(ShapeError, match="out must have shape"):
        quantized_linear(x, weight, out=np.empty((1, 1), np.float32))
    with pytest.raises(InvalidValue, match="writable ndarray of float32"):
        quantized_linear(x, weight, out=np.empty((33, 37)))
    with pytest.raises(ValueError, match="activation"):
        quantized_linear(x, weight, activation="swish")
    with pytest.raises(InvalidValue, match="span must be finite and hold 0"):
        quantized_linear(x, weight, span=(1.0, 2.0))
    with pytest.raises(UnsupportedInput, match="float32 activations, or int8"):
        quantized_linear(x.astype(np.int8), weight)
    with pytest.raises(InvalidValue, match="for activations of int8"):
        quantized_linear(x, weight, codes=Codes(1.0))
    with pytest.raises(UnsupportedInput, match="float32 weight, or int8 codes"):
        prepack(w.astype(np.float64))
    with pytest.raises(InvalidValue, match="NaN or infinity"):
        prepack(np.full((2, 2), np.nan, np.float32))
    with pytest.raises(ShapeError, match=r"\(K, N\)"):
        prepack(b)
    with pytest.raises(InvalidValue, match="may overflow int32"):
        prepack(np.zeros((70_000, 1), np.int8), np.ones(1, np.float32))
    with pytest.raises(InvalidValue, match="scales must be positive"):
        prepack(w.astype(np.int8), np.zeros(37, np.float32))
