from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinytorch
from tinytorch import (
    GELU,
    Dropout,
    Layer,
    Linear,
    ReLU,
    Sequential,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
    Tensor,
    nn,
    use_backend,
)
from tinytorch.backends.recording import recording
from tinytorch.core.gradcheck import gradcheck
from tinytorch.core.layers import linear
from tinytorch.errors import InvalidValue, ShapeError

X = np.random.default_rng(0).standard_normal((5, 3))


def double(shape: tuple[int, ...], seed: int = 1) -> Tensor:
    drawn = np.random.default_rng(seed).standard_normal(shape)
    return Tensor(drawn, requires_grad=True, dtype=np.float64)


# Activations ------------------------------------------------------------------------------------

FORMULAS: list[tuple[Layer, Any]] = [
    (ReLU(), lambda x: np.maximum(x, 0)),
    (Sigmoid(), lambda x: 1 / (1 + np.exp(-x))),
    (Tanh(), np.tanh),
    (SiLU(), lambda x: x / (1 + np.exp(-x))),
    (
        GELU(),
        lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    ),
    (GELU("none"), lambda x: 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))),
    (Softmax(), lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
    (Softmax(dim=0), lambda x: np.exp(x) / np.exp(x).sum(0, keepdims=True)),
]


SLOPES: list[tuple[Layer, Any, Any]] = [
    (ReLU(), lambda x: np.maximum(x, 0), lambda y: y > 0),
    (Sigmoid(), lambda x: np.exp(-np.logaddexp(0, -x)), lambda y: y * (1 - y)),
    (Tanh(), np.tanh, lambda y: 1 - y * y),
]


@pytest.mark.parametrize("backend", ["naive", "numpy", "native", "auto"])
@pytest.mark.parametrize(("layer", "formula", "slope"), SLOPES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations_on_every_backend(
    backend: str, layer: Layer, formula: Any, slope: Any, dtype: str
) -> None:
    """Few elements and many, far into saturation, in any order of memory, and none."""
    for shape in ((3, 5), (300, 250), (0, 4), ()):
        drawn = np.random.default_rng(0).standard_normal(shape[::-1]).T
        wide = np.asarray(np.sign(drawn) * 10 ** (4 * np.abs(drawn) - 4), dtype).clip(-1e4, 1e4)
        x = Tensor(wide, requires_grad=True, dtype=dtype)
        with use_backend(backend):
            y = layer(x)
            y.sum().backward()
        expected = formula(wide.astype(np.float64))
        assert y.dtype == x.grad.dtype == dtype and y.shape == x.grad.shape == shape
        np.testing.assert_allclose(y.data, expected, rtol=2e-6, atol=1e-37)
        np.testing.assert_allclose(x.grad, slope(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", [Sigmoid(), Tanh()])
@pytest.mark.parametrize("backend", ["naive", "numpy", "auto"])
def test_activations_of_other_numbers(layer: Layer, backend: str) -> None:
    """Of integers they are float64, as in NumPy; half precision stays what it is."""
    with use_backend(backend):
        whole = layer(Tensor([-2, 0, 3], dtype=np.int64))
        half = layer(Tensor([-2, 0, 3], dtype=np.float16))
    assert whole.dtype == np.float64 and half.dtype == np.float16
    np.testing.assert_allclose(half.data, whole.data, rtol=1e-3)


@pytest.mark.parametrize(("layer", "formula"), FORMULAS)
def test_activations_are_their_formulas(layer: Layer, formula: Any) -> None:
    for result in (layer(X), layer.forward(Tensor(X))):
        assert result.dtype == np.float32
        np.testing.assert_allclose(result.data, formula(X), rtol=1e-5, atol=1e-6)
    assert layer.parameters() == []


@pytest.mark.parametrize(("layer", "formula"), FORMULAS)
def test_activations_are_stable(layer: Layer, formula: Any) -> None:
    for extreme in ([-1e4, 0.0, 1e4], [1e4, 1e4, 1e4], [-3e38, 0, 3e38]):
        result = layer(Tensor([extreme, extreme])).data
        assert np.isfinite(result).all()
    assert layer(np.zeros((0, 3))).shape == (0, 3)
    assert np.isnan(layer(Tensor([[np.nan, 1.0], [1.0, 1.0]])).data[0, 0])


def test_silu_has_a_gradient() -> None:
    assert gradcheck(SiLU(), double((4,)))


def test_an_axis_can_be_given_to_softmax_at_the_call() -> None:
    np.testing.assert_allclose(Softmax().forward(Tensor(X), dim=0).sum(axis=0).data, 1, rtol=1e-6)
    with pytest.raises(ShapeError, match="axis 2"):
        Softmax()(Tensor(X), dim=2)
    with pytest.raises(InvalidValue, match="'sig'"):
        GELU("sig")


# Linear -----------------------------------------------------------------------------------------


def test_linear_is_a_product_and_a_bias() -> None:
    layer = Linear(3, 4)
    layer.bias.data = np.arange(4)
    assert layer.weight.shape == (3, 4) and layer.bias.shape == (4,)
    expected = X @ layer.weight.data.astype(float) + np.arange(4)
    np.testing.assert_allclose(layer(X).data, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        layer(X[None, :, None])[0, :, 0].data, expected, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(layer(X[0]).data, expected[0], rtol=1e-5, atol=1e-6)
    assert layer(np.zeros((0, 3))).shape == (0, 4)
    assert layer.parameters() == [layer.weight, layer.bias]


def test_linear_without_a_bias() -> None:
    layer = Linear(3, 4, bias=False)
    assert layer.bias is None and layer.parameters() == [layer.weight]
    np.testing.assert_allclose(layer(X).data, X @ layer.weight.data, rtol=1e-5, atol=1e-6)


def test_weights_keep_the_variance() -> None:
    tinytorch.manual_seed(0)
    layer = Linear(400, 300)
    assert layer.weight.data.std() == pytest.approx(1 / 20, rel=0.02)
    assert not layer.bias.data.any()


@pytest.mark.parametrize("shape", [(5, 4), (4,), ()])
def test_a_wrong_width_names_both(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"3 features.*got (4|none)"):
        Linear(3, 2)(np.ones(shape))


@pytest.mark.parametrize("sizes", [(0, 1), (1, -1), (2.5, 1), (True, 1)])
def test_linear_refuses_sizes(sizes: Any) -> None:
    with pytest.raises(InvalidValue, match="features must be an int"):
        Linear(*sizes)


@pytest.mark.parametrize("backend", ["numpy", "auto"])
@pytest.mark.parametrize("shape", [(5, 3), (2, 5, 3), (3,)])
def test_gradients_of_linear(shape: tuple[int, ...], backend: str) -> None:
    with use_backend(backend):
        assert gradcheck(linear, double(shape), double((3, 4), 2), double((4,), 3))
        strided = Tensor(double((4, 3, 2), 4).data[:, :, 0].T, requires_grad=True, dtype="f8")
        assert gradcheck(linear, double(shape), strided, double((4,), 3))


# Dropout ----------------------------------------------------------------------------------------


def test_dropout_drops_and_scales() -> None:
    tinytorch.manual_seed(0)
    x = Tensor(np.ones((100, 100)), requires_grad=True)
    y = Dropout(0.3)(x, training=True)
    dropped = y.data == 0
    assert dropped.mean() == pytest.approx(0.3, abs=0.02)
    np.testing.assert_allclose(y.data[~dropped], 1 / 0.7, rtol=1e-6)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, y.data)


def test_dropout_in_use_does_nothing() -> None:
    x = Tensor(X)
    assert Dropout(0.5)(x, training=False) is x
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert not Dropout(1.0)(x, training=True).data.any()
    for p in (-0.1, 1.1, "half", math.nan):
        with pytest.raises(InvalidValue, match="probability"):
            Dropout(p)  # type: ignore[arg-type]


def test_both_seeds_repeat() -> None:
    def drawn() -> list[Any]:
        model = Sequential(Linear(3, 2), Dropout(0.5))
        return [model.layers[0].weight.tolist(), model(X).tolist()]

    tinytorch.manual_seed(7)
    first = drawn()
    np.random.seed(7)
    assert drawn() == first
    assert drawn() != first
    for seed in (-1, 2**32, 1.5):
        with pytest.raises(InvalidValue, match="seed"):
            tinytorch.manual_seed(seed)  # type: ignore[arg-type]


# Layers of one's own ----------------------------------------------------------------------------


class Model(Layer):
    def __init__(self) -> None:
        self.first = Linear(3, 4)
        self.rest = [Linear(4, 4), Dropout(0.5), Sequential([Linear(4, 2), ReLU()])]
        self.by_name = {"scale": Tensor([1.0], requires_grad=True)}
        self.also_first = self.first
        self.constant = Tensor([2.0])

    def forward(self, x: Any) -> Tensor:
        x = self.first(x)
        for layer in self.rest:
            x = layer(x)
        return x * self.by_name["scale"] * self.constant


def test_parts_are_found_by_themselves() -> None:
    model = Model()
    names = [name for name, _ in model.named_parameters()]
    assert names == [
        "first.weight",
        "first.bias",
        "rest.0.weight",
        "rest.0.bias",
        "rest.2.layers.0.weight",
        "rest.2.layers.0.bias",
        "by_name.scale",
    ]
    assert len(model.parameters()) == 7
    assert "first" in repr(model) and "Dropout(p=0.5)" in repr(model)
    model(X).sum().backward()
    assert model.by_name["scale"].grad is not None
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_modes_reach_every_part() -> None:
    model = Model().eval()
    assert not model.rest[1].training
    assert model(X).tolist() == model(X).tolist()
    assert model.train() is model and model.rest[1].training


def test_a_state_can_be_put_back() -> None:
    model, other = Model(), Model()
    state = model.state_dict()
    other.load_state_dict(state)
    np.testing.assert_array_equal(other.eval()(X).data, model.eval()(X).data)
    state["first.weight"][:] = 9  # a copy
    assert not (model.first.weight.data == 9).any()


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    model = Model()
    before = model.state_dict()
    state = {**before, "first.weight": np.ones((3, 4)), "rest.0.bias": np.ones(5)}
    with pytest.raises(ShapeError, match=r"rest.0.bias.*\(4,\).*\(5,\)"):
        model.load_state_dict(state)
    with pytest.raises(InvalidValue, match=r"missing.*by_name.scale.*unknown.*more"):
        lacking = {k: v for k, v in before.items() if k != "by_name.scale"}
        model.load_state_dict({**lacking, "more": np.ones(1)})
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    model.load_state_dict({"first.weight": np.zeros((3, 4))}, strict=False)
    assert not model.first.weight.data.any()


def test_a_model_can_be_saved(tmp_path: Any) -> None:
    model, other = Model(), Model()
    model.save(tmp_path / "model.safetensors")
    other.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(other.eval()(X).data, model.eval()(X).data)


def test_sequential() -> None:
    layers = [Linear(3, 4), ReLU(), lambda x: x * 2]
    for model in (Sequential(*layers), Sequential(layers)):
        assert len(model) == 3 and list(model) == layers and model[1] is layers[1]
        expected = np.maximum(layers[0](X).data, 0) * 2
        np.testing.assert_allclose(model(X).data, expected, rtol=1e-6)
    assert len(Sequential().append(ReLU())) == 1
    with pytest.raises(InvalidValue, match="int"):
        Sequential(3)


class _Leaky(ReLU):
    def forward(self, x: Any) -> Tensor:
        return x.maximum(x * 0.5)


@pytest.mark.parametrize("bias", [True, False])
def test_a_relu_in_a_sequence_is_done_within_the_product(bias: bool) -> None:
    first, relu, last = Linear(4, 8, bias=bias), ReLU(), Linear(8, 2)
    parameters = [*first.parameters(), *last.parameters()]
    x = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)

    def results(model: Any) -> list[Any]:
        for p in parameters:
            p.grad = None
        given = Tensor(x, requires_grad=True)
        out = model(given)
        out.sum().backward()
        return [out.numpy(), given.grad, *[p.grad for p in parameters]]

    with recording() as together:
        got = results(Sequential(first, relu, last))
    wanted = results(lambda x: last(first(x).relu()))
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(a, b)
    products = [call for call in together.calls if call.op == "linear"]
    assert [call.params.get("activation") for call in products] == (
        ["relu", None] if bias else [None]
    )
    assert ("relu" in [call.op for call in together.calls]) is not bias


def test_what_only_looks_like_a_relu_is_called() -> None:
    layer, x = Linear(4, 8), Tensor(np.random.default_rng(0).standard_normal((5, 4)))
    seen: list[Any] = []
    watched, plain = ReLU(), ReLU()
    watched.forward = lambda x: seen.append(x) or plain(x)  # type: ignore[method-assign]
    np.testing.assert_array_equal(
        Sequential(layer, watched)(x).numpy(), Sequential(layer, plain)(x).numpy()
    )
    assert len(seen) == 1
    assert (Sequential(layer, _Leaky())(x).numpy() < 0).any()
    assert (Sequential(layer, abs)(x).numpy() >= 0).all()
    with pytest.raises(InvalidValue, match="'none' or 'relu'"):
        layer.forward(x, "gelu")


def test_a_layer_without_forward_says_so() -> None:
    with pytest.raises(NotImplementedError, match="Layer must define forward"):
        Layer()(X)


def test_pytorchs_names() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(np.ones(3))
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))

        def forward(self, x: Any) -> Tensor:
            return self.body(x * self.scale)

    net = Net()
    assert len(net.parameters()) == 3
    net(Tensor(X)).sum().backward()
    assert net.scale.grad.shape == (3,)
    weight = np.ones((4, 3))
    assert nn.functional.linear(Tensor(X), weight).shape == (5, 4)
    assert nn.functional.dropout(Tensor(X), training=False).shape == (5, 3)
    assert nn.functional.gelu(Tensor([1.0])).item() == pytest.approx(0.8413447, rel=1e-6)
    assert nn.functional.layer_norm(Tensor(X), 3).data.mean() == pytest.approx(0, abs=1e-6)
    assert nn.functional.embedding([1, 0], np.eye(3)).tolist() == np.eye(3)[[1, 0]].tolist()
    images = np.ones((1, 2, 4, 4))
    assert nn.functional.conv2d(images, np.ones((3, 2, 3, 3))).shape == (1, 3, 2, 2)
    assert nn.functional.max_pool2d(images, 2).shape == (1, 2, 2, 2)
    assert nn.functional.avg_pool2d(images, 2).tolist() == np.ones((1, 2, 2, 2)).tolist()
    assert tinytorch.optim.SGD and tinytorch.utils.data.DataLoader
