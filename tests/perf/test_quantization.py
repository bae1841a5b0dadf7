"""Quantization: half a step, whatever the values; products equal to exact integer sums."""

from __future__ import annotations

import copy
from typing import Any

import hypothesis
import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, strategies
from layers_for_tests import Linear, ReLU, Sequential, mlp

from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, MeasurementError, ShapeError, UnknownName
from tinytorch.perf.compression import SparseLinear
from tinytorch.perf.quantization import (
    Int4Linear,
    Observer,
    QuantizedConv2d,
    QuantizedLinear,
    Quantizer,
    analyze_model_sizes,
    dequantize_int8,
    quantize,
    quantize_int4,
    quantize_int8,
    quantize_model,
    verify_quantization_works,
)

LARGEST = float(np.finfo(np.float32).max)
SUBNORMAL = float(np.finfo(np.float32).smallest_subnormal)


def within_half_a_step(values: np.ndarray) -> None:
    codes, scale, zero_point = quantize_int8(values)
    assert codes.dtype == np.int8
    assert codes.shape == values.shape
    assert -128 <= zero_point <= 127
    assert scale > 0
    back = dequantize_int8(codes, scale, zero_point)
    assert back.dtype == np.float32
    error = np.abs(back.astype(np.float64) - values)
    # Half a step, and the rounding of the result to float32.
    rounding = np.abs(values.astype(np.float64)) * 2.0**-24 + SUBNORMAL / 2
    assert (error <= scale / 2 * (1 + 1e-9) + rounding).all()


@pytest.mark.parametrize(
    "values",
    [
        [5.0],
        [-3.0, -3.0],
        [0.0, 0.0],
        [1e-30, 1e-30],
        [SUBNORMAL],
        [SUBNORMAL, 0.0, -SUBNORMAL],
        [1e-40, 3e-40, 2e-41],
        [LARGEST, -LARGEST],
        [LARGEST, -LARGEST / 1.7, 0.0],
        [LARGEST],
        [100.0, 101.0],
        [-1.0, 0.0, 2.0],
        [],
        [[1.0, 2.0], [3.0, -4.0]],
    ],
    ids=str,
)
def test_values_are_met_within_half_a_step(values: Any) -> None:
    within_half_a_step(np.array(values, np.float32))


@given(
    arrays.arrays(
        np.float32,
        arrays.array_shapes(max_dims=2, max_side=9),
        elements=strategies.floats(allow_nan=False, allow_infinity=False, width=32),
    )
)
@hypothesis.settings(max_examples=300)
def test_any_finite_values_are_met_within_half_a_step(values: np.ndarray) -> None:
    within_half_a_step(values)


def test_zero_is_exact_and_a_tensor_stays_one() -> None:
    codes, scale, zero_point = quantize_int8(Tensor([[-1.0, 0.0, 7.0]]))
    assert isinstance(codes, Tensor)
    assert codes.dtype == np.int8
    back = dequantize_int8(codes, scale, zero_point)
    assert isinstance(back, Tensor)
    assert back.data[0, 1] == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_has_no_codes_is_refused(value: float) -> None:
    with pytest.raises(InvalidValue, match="finite"):
        quantize_int8(np.array([1.0, value]))
    with pytest.raises(InvalidValue, match="positive"):
        dequantize_int8(np.array([1], np.int8), value, 0)


def test_codes_that_are_none_are_refused() -> None:
    with pytest.raises(InvalidValue, match="-128 to 127"):
        dequantize_int8(np.array([300.0]), 1.0, 0)
    assert dequantize_int8(np.array([3.0]), 0.5, 1).tolist() == [1.0]


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_channels_have_scales_of_their_own(axis: int | None, symmetric: bool) -> None:
    values = np.random.default_rng(0).standard_normal((6, 9)) * 10.0 ** np.arange(9)
    found = quantize(values, axis, symmetric)
    shape: Any = {None: (), 0: (6, 1), 1: (1, 9), -1: (1, 9)}[axis]
    step = found.scale.reshape(shape)
    error = np.abs(found.dequantize() - values)
    assert (error <= step / 2 * (1 + 1e-6) + np.abs(values) * 1e-7).all()
    assert (found.zero_point == 0).all() or not symmetric
    assert not symmetric or found.codes.min() >= -127
    assert found.nbytes == 54 + 5 * found.scale.size
    with pytest.raises(ShapeError):
        quantize(values, 2)


# --------------------------------------------------------------------------------- calibration


def test_min_max_covers_everything_and_zero() -> None:
    observer = Observer()
    observer.observe(np.array([2.0, 3.0]))
    observer.observe(Tensor([5.0]))
    assert observer.range() == (0.0, 5.0)
    assert observer.count == 3
    with pytest.raises(MeasurementError, match="sample"):
        Observer().range()
    with pytest.raises(UnknownName, match="minmax"):
        Observer("min-max")
    with pytest.raises(InvalidValue, match="percentile"):
        Observer("percentile", 20)


def errors_with(observer: Observer, values: np.ndarray) -> np.ndarray:
    scale, zero_point = observer.parameters()
    codes = np.clip(np.rint(values / scale) + zero_point, -128, 127)
    return np.abs((codes - zero_point) * scale - values)


def test_a_percentile_leaves_a_lone_outlier_out() -> None:
    values = np.random.default_rng(0).standard_normal(20_000)
    values[7] = 1000.0
    tight, wide = Observer("percentile"), Observer("minmax")
    for observer in (tight, wide):
        observer.observe(values)
    assert np.median(errors_with(tight, values)) < np.median(errors_with(wide, values)) / 50


def test_mse_is_the_least_of_the_ranges_it_tries() -> None:
    values = np.random.default_rng(1).laplace(size=20_000).astype(np.float32)
    observer = Observer("mse")
    observer.observe(values)
    low, high = observer.range()
    assert values.min() <= low < 0 < high <= values.max()
    whole = Observer()
    whole.observe(values)
    squares = [np.square(errors_with(o, values)).mean() for o in (observer, whole)]
    assert squares[0] < squares[1]


# -------------------------------------------------------------------------------------- layers


def float_product(x: np.ndarray, layer: Linear) -> np.ndarray:
    bias = 0 if layer.bias is None else layer.bias.data
    return np.asarray(x.astype(np.float64) @ layer.weight.data + bias)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 64), (2, 3, 64), (64,), (0, 64)])
def test_a_dynamic_layer_stays_within_its_rounding(shape: tuple[int, ...], bias: bool) -> None:
    layer = Linear(64, 48, bias)
    quantized = QuantizedLinear(layer)
    x = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    result = quantized(Tensor(x))
    assert result.dtype == np.float32
    assert result.shape == (*shape[:-1], 48)
    if not x.size:
        return
    # Each product's error: half a step of x times |w|, half a step of w times |x|, and both. A
    # row's codes may have 7 bits where the CPU has no better product, so that its step is 1/63.
    weight = layer.weight.data
    step_x = np.abs(x).max(axis=-1, keepdims=True) / 63
    step_w = np.abs(weight).max(axis=0) / 127
    bound = step_x / 2 * np.abs(weight).sum(axis=0) + np.abs(x).sum(axis=-1, keepdims=True) * (
        step_w / 2
    )
    bound = bound + 64 * step_x * step_w / 4 + 1e-4
    assert (np.abs(result.data - float_product(x, layer)) <= bound).all()
    # And it is a good approximation.
    exact = float_product(x, layer)
    assert np.linalg.norm(result.data - exact) / np.linalg.norm(exact) < 0.02


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse"])
def test_a_calibrated_layer_uses_one_scale(method: str) -> None:
    layer = Linear(64, 48)
    quantized = QuantizedLinear(layer)
    x = np.random.default_rng(3).uniform(-1, 3, (50, 64)).astype(np.float32)
    quantized.calibrate([Tensor(x[:25]), x[25:]], method)
    assert quantized.input_scale == pytest.approx(4 / 255, rel=0.2)
    exact = float_product(x, layer)
    result = quantized.forward(x)
    assert np.linalg.norm(result - exact) / np.linalg.norm(exact) < 0.02
    assert "static" in repr(quantized)


def test_codes_are_multiplied_as_they_are() -> None:
    layer = Linear(16, 4, bias=False)
    codes = np.random.default_rng(4).integers(-127, 128, (16, 4))
    codes[0] = 127  # so that each output's scale is 1
    layer.weight = Tensor(codes)
    quantized = QuantizedLinear(layer)
    assert (quantized.q_weight.data == codes).all()
    assert quantized.q_weight.dtype == np.int8
    top = 2**quantized._weight.packed.activation_bits - 1
    x = np.random.default_rng(5).integers(0, top + 1, (3, 16)).astype(np.float32)
    quantized.calibrate([np.array([[0.0] * 15 + [top]])])  # steps of 1
    assert (quantized.forward(x) == x.astype(np.int64) @ codes).all()


@pytest.mark.parametrize("shape", [(700, 3), (1, 1), (33, 70)])
def test_codes_are_read_back(shape: tuple[int, int]) -> None:
    weight = np.random.default_rng(12).standard_normal(shape).astype(np.float32)
    layer = Linear(*shape, bias=False)
    layer.weight = Tensor(weight)
    expected = quantize(weight, axis=1, symmetric=True)
    quantized = QuantizedLinear(layer)
    assert quantized.weight_scale == pytest.approx(expected.scale, rel=1e-6)
    # A value on the edge between two codes may fall to either side.
    difference = quantized.q_weight.data.astype(int) - expected.codes
    assert np.abs(difference).max() <= 1
    assert (difference != 0).mean() < 1e-3


def test_the_float_weight_is_not_kept() -> None:
    layer = Linear(512, 512)
    usage = QuantizedLinear(layer).memory_usage()
    assert usage["original_bytes"] == 4 * (512 * 512 + 512)
    assert usage["compression_ratio"] == usage["original_bytes"] / usage["quantized_bytes"]
    # A scale and a sum a column, and a byte for some 500 codes, are all that is held beside codes.
    assert 3.9 < usage["compression_ratio"] < 4
    held = vars(QuantizedLinear(layer))
    assert not any(
        np.size(getattr(v, "data", v)) == 512 * 512 and getattr(v, "dtype", None) != np.int8
        for v in held.values()
    )


def test_bad_inputs_name_both_widths() -> None:
    quantized = QuantizedLinear(Linear(64, 48))
    with pytest.raises(ShapeError, match=r"64.*\(3, 63\)"):
        quantized.forward(np.ones((3, 63), np.float32))
    with pytest.raises(ShapeError):
        quantized.calibrate([np.ones((3, 63))])
    with pytest.raises(MeasurementError):
        quantized.calibrate([])


class Conv2d:
    def __init__(self) -> None:
        rng = np.random.default_rng(6)
        self.weight = Tensor(rng.standard_normal((8, 3, 3, 3), np.float32))
        self.bias = Tensor(rng.standard_normal(8, np.float32))
        self.stride, self.padding = 2, 1

    def forward(self, x: Any) -> Any:
        from tinytorch.perf.acceleration import im2col_conv2d

        return im2col_conv2d(x, self.weight, self.bias, self.stride, self.padding)

    def parameters(self) -> list[Tensor]:
        return [self.weight, self.bias]


def test_a_convolution_is_quantized() -> None:
    conv, x = Conv2d(), Tensor(np.random.default_rng(7).standard_normal((2, 3, 9, 8)))
    exact, result = conv.forward(x).data, QuantizedConv2d(conv).forward(x).data
    assert result.shape == exact.shape
    assert np.linalg.norm(result - exact) / np.linalg.norm(exact) < 0.02
    with pytest.raises(ShapeError, match="4D"):
        QuantizedConv2d(conv).forward(np.ones((3, 9, 8)))


# -------------------------------------------------------------------------------------- models


def test_a_model_is_quantized_in_place() -> None:
    model = mlp()
    original = copy.deepcopy(model)
    x = Tensor(np.random.default_rng(8).standard_normal((40, 64)))
    exact = original.forward(x).data
    assert quantize_model(model) is model
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == ["QuantizedLinear", "ReLU", "QuantizedLinear"]
    result = model.forward(x).data
    assert np.linalg.norm(result - exact) / np.linalg.norm(exact) < 0.02
    sizes = analyze_model_sizes(original, model)
    # Of 64 inputs: 4 * 65 bytes an output become 64 codes, a scale, a bias and a sum, no padding.
    assert 3.5 < sizes["compression_ratio"] < 4
    assert sizes["original_bytes"] == 4 * (64 * 96 + 96 + 96 * 10 + 10)
    found = verify_quantization_works(original, model)
    assert (found["quantized_layers"], found["verified"]) == (2, True)
    assert verify_quantization_works(original, original)["verified"] is False


def test_calibration_reaches_every_layer() -> None:
    model = mlp()
    original = copy.deepcopy(model)
    x = np.random.default_rng(9).standard_normal((60, 64)).astype(np.float32)
    quantize_model(model, [x[:30], Tensor(x[30:])], method="mse")
    first, _, last = model.layers
    assert first.input_scale is not None is not last.input_scale
    assert last.input_zero_point == -128  # after a ReLU nothing is negative
    assert "forward" not in vars(original.layers[0])
    exact, result = original.forward(Tensor(x)).data, model.forward(Tensor(x)).data
    assert np.linalg.norm(result - exact) / np.linalg.norm(exact) < 0.05


def test_nothing_is_changed_where_something_is_wrong() -> None:
    model = mlp()
    before = list(model.layers)
    with pytest.raises(ValueError, match="shape"):
        quantize_model(model, [np.ones((3, 5), np.float32)])
    with pytest.raises(InvalidValue, match="empty"):
        quantize_model(model, [])
    assert model.layers == before
    assert all("forward" not in vars(layer) for layer in model.layers)
    with pytest.raises(InvalidValue, match="no Linear"):
        quantize_model(Sequential(ReLU()))
    with pytest.raises(InvalidValue, match="Sequential"):
        quantize_model(Linear(3, 4))


def test_a_layer_used_twice_is_quantized_once() -> None:
    shared = Linear(8, 8)
    model = Sequential(shared, ReLU())
    model.again = shared  # type: ignore[attr-defined]
    quantize_model(model)
    assert isinstance(model.layers[0], QuantizedLinear)


def test_the_quantizer_has_the_old_names() -> None:
    found = Quantizer().quantize_model(mlp())
    assert found["quantized_layers"] == 2
    assert found["compression_ratio"] == pytest.approx(
        found["original_size_mb"] / found["quantized_size_mb"]
    )
    codes, scale, zero_point = Quantizer.quantize_tensor(Tensor([1.0, 2.0]))
    assert Quantizer.dequantize_tensor(codes, scale, zero_point).data == pytest.approx(
        [1, 2], abs=scale
    )
    assert Quantizer.compare_models(mlp(), mlp())["compression_ratio"] == 1


# ---------------------------------------------------------------------------------- four bits


@pytest.mark.parametrize(("K", "N", "group"), [(64, 10, 32), (70, 300, 16), (1, 1, 2), (7, 3, 4)])
def test_four_bits_meet_values_within_half_a_step(K: int, N: int, group: int) -> None:
    weight = np.random.default_rng(10).standard_normal((K, N)) * 10.0 ** np.arange(N).clip(0, 4)
    found = quantize_int4(weight, group)
    groups = -(-K // group)
    step = np.repeat(found.scale.astype(np.float64), group, axis=0)[:K]
    error = np.abs(found.dequantize() - weight)
    # The scale itself is rounded to half precision: up to 7 steps times 2^-11 more.
    assert (error <= step * (0.5 + 7 * 2.0**-11) + 1e-12).all()
    assert np.abs(found.codes()).max() <= 7
    assert found.nbytes == groups * group * N // 2 + 2 * groups * N
    assert (found.dequantize(1, 2) == found.dequantize()[:, 1:2]).all()


def test_a_four_bit_layer_takes_an_eighth() -> None:
    layer = Linear(512, 300)
    quantized = Int4Linear(layer, 128)
    assert 7 < quantized.memory_usage()["compression_ratio"] < 8
    x = np.random.default_rng(11).standard_normal((3, 512)).astype(np.float32)
    expected = x @ quantized.weight4.dequantize() + layer.bias.data
    assert quantized.forward(Tensor(x)).data == pytest.approx(expected, abs=1e-4)
    with pytest.raises(ShapeError):
        quantized.forward(np.ones(3))
    for size in (0, 3, 2.5):
        with pytest.raises(InvalidValue, match="group_size"):
            quantize_int4(np.ones((4, 4)), size)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue, match="half"):
        quantize_int4(np.full((4, 4), 1e6))


def test_a_sparse_layer_is_no_candidate() -> None:
    with pytest.raises(InvalidValue, match="no Linear"):
        quantize_model(Sequential(SparseLinear(Linear(4, 4))))
