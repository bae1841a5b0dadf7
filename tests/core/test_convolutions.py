"""Images against loops written out over pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinytorch import AvgPool2d, BatchNorm2d, Conv2d, MaxPool2d, SimpleCNN, Tensor, use_backend
from tinytorch.core import graph, spatial
from tinytorch.core.gradcheck import gradcheck
from tinytorch.core.rules.images import BatchNormBackward, Conv2dBackward
from tinytorch.errors import InvalidValue, ShapeError

RNG = np.random.default_rng(0)


def double(shape: tuple[int, ...]) -> Tensor:
    size = int(np.prod(shape))
    return Tensor(
        (RNG.permutation(size).reshape(shape) - size / 2) * (4 / size),
        requires_grad=True,
        dtype="f8",
    )


def windows(x: np.ndarray, k: Any, s: Any, p: Any, border: float = 0.0) -> Any:
    """Yield every output place with its window of all channels."""
    padded = np.pad(x, [(0, 0), (0, 0), (p[0],) * 2, (p[1],) * 2], constant_values=border)
    for i in range((padded.shape[2] - k[0]) // s[0] + 1):
        for j in range((padded.shape[3] - k[1]) // s[1] + 1):
            yield i, j, padded[:, :, i * s[0] : i * s[0] + k[0], j * s[1] : j * s[1] + k[1]]


CASES = [
    ((1, 1, 3, 3), (1, 1), (1, 1), (0, 0)),
    ((2, 3, 5, 6), (3, 3), (1, 1), (1, 1)),
    ((2, 3, 6, 5), (3, 2), (2, 1), (1, 0)),
    ((1, 2, 7, 7), (2, 2), (3, 3), (0, 1)),
]


@pytest.mark.parametrize("backend", ["numpy", "auto"])
@pytest.mark.parametrize(("shape", "kernel", "stride", "padding"), CASES)
def test_convolution(shape: Any, kernel: Any, stride: Any, padding: Any, backend: str) -> None:
    x, layer = RNG.standard_normal(shape), Conv2d(shape[1], 4, kernel, stride, padding)
    layer.bias.data = RNG.standard_normal(4)
    with use_backend(backend):
        result = layer(x)
    assert result.dtype == np.float32
    for i, j, window in windows(x, kernel, stride, padding):
        expected = np.einsum("ncij,ocij->no", window, layer.weight.data) + layer.bias.data
        np.testing.assert_allclose(result.data[:, :, i, j], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("shape", "kernel", "stride", "padding"), CASES)
def test_gradients_of_convolution(shape: Any, kernel: Any, stride: Any, padding: Any) -> None:
    def conv(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return graph.apply(Conv2dBackward, x, w, b, stride=stride, padding=padding)

    assert gradcheck(conv, double(shape), double((2, shape[1], *kernel)), double((2,)))


@pytest.mark.parametrize(("shape", "kernel", "stride", "padding"), CASES)
@pytest.mark.parametrize("kind", [MaxPool2d, AvgPool2d])
def test_pools(kind: Any, shape: Any, kernel: Any, stride: Any, padding: Any) -> None:
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        with pytest.raises(InvalidValue, match="more than half"):
            kind(kernel, stride, padding)
        return
    pool, x = kind(kernel, stride, padding), double(shape)
    largest = kind is MaxPool2d
    for i, j, window in windows(x.data, kernel, stride, padding, -np.inf if largest else 0.0):
        expected = window.max((2, 3)) if largest else window.mean((2, 3))
        np.testing.assert_allclose(pool(x).data[:, :, i, j], expected, rtol=1e-12, atol=1e-12)
    assert gradcheck(pool, x)


def test_a_pool_moves_by_its_own_size() -> None:
    x = Tensor(np.arange(16.0).reshape(1, 1, 4, 4), requires_grad=True)
    assert MaxPool2d(2)(x).tolist() == [[[[5, 7], [13, 15]]]]
    assert AvgPool2d(2)(x).tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]
    assert MaxPool2d(2, stride=1)(x).shape == (1, 1, 3, 3)


def test_overlapping_windows_add_their_gradients() -> None:
    x = Tensor([[[[1.0, 5.0, 2.0]]]], requires_grad=True)
    MaxPool2d((1, 2), stride=1)(x).sum().backward()
    assert x.grad.tolist() == [[[[0, 2, 0]]]]
    tie = Tensor([[[[3.0, 3.0]]]], requires_grad=True)
    MaxPool2d((1, 2))(tie).sum().backward()
    assert tie.grad.tolist() == [[[[1, 0]]]]


def test_a_nan_is_the_largest() -> None:
    assert np.isnan(MaxPool2d((1, 3))(Tensor([[[[1.0, np.nan, 2.0]]]])).item())


def test_batch_norm() -> None:
    norm, x = BatchNorm2d(3, momentum=0.3), RNG.standard_normal((4, 3, 5, 5)) * 2 + 1
    norm.gamma.data, norm.beta.data = np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 2.0])
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
    shaped = [v.reshape(1, 3, 1, 1) for v in (mean, var, norm.gamma.data, norm.beta.data)]
    expected = (x - shaped[0]) / np.sqrt(shaped[1] + 1e-5) * shaped[2] + shaped[3]
    np.testing.assert_allclose(norm(x).data, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm.running_mean, 0.3 * mean, rtol=1e-5)
    np.testing.assert_allclose(norm.running_var, 0.7 + 0.3 * var * 100 / 99, rtol=1e-5)
    norm.eval()
    running = [v.reshape(1, 3, 1, 1) for v in (norm.running_mean, norm.running_var)]
    expected = (x - running[0]) / np.sqrt(running[1] + 1e-5) * shaped[2] + shaped[3]
    np.testing.assert_allclose(norm(x).data, expected, rtol=1e-4, atol=1e-5)


def test_gradients_of_batch_norm() -> None:
    def norm(batch: bool) -> Any:
        def run(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
            axes = (0, 2, 3)
            of = x.data if batch else np.ones((1, 2, 1, 2)) * [0.5, 1]
            moments = of.mean(axes), of.var(axes)
            return graph.apply(
                BatchNormBackward, x, gamma, beta, moments=moments, eps=1e-5, batch=batch
            )

        return run

    for batch in (True, False):
        assert gradcheck(norm(batch), double((2, 2, 3, 2)), double((2,)), double((2,)))


def normalised(x: np.ndarray, dy: np.ndarray, norm: Any, training: bool) -> tuple[Any, Any]:
    """Return batch norm and its gradients (x, gamma, beta) in float64, by the formulas."""
    x, dy, axes = x.astype(np.float64), dy.astype(np.float64), (0, 2, 3)
    mean, var = (x.mean(axes), x.var(axes)) if training else (norm.running_mean, norm.running_var)
    column = (slice(None), None, None)
    n = (x - mean[column]) / np.sqrt(var[column] + 1e-5)
    along, level = (dy * n).sum(axes), dy.sum(axes)
    count = x.size / x.shape[1]
    moved = (level[column] + n * along[column]) / count if training else 0
    gain = norm.gamma.data[column]
    dx = gain / np.sqrt(var[column] + 1e-5) * (dy - moved)
    return n * gain + norm.beta.data[column], (dx, along, level)


@pytest.mark.parametrize("backend", ["naive", "numpy", "native", "auto"])
@pytest.mark.parametrize("shape", [(4, 3, 2, 2), (8, 3, 20, 30), (2000, 3, 1, 1)])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_on_every_backend(backend: str, shape: Any, training: bool) -> None:
    norm = BatchNorm2d(3)
    norm.gamma.data, norm.beta.data = np.array([1.0, 2.0, -3.0]), np.array([0.0, 1.0, 2.0])
    norm.running_mean[:], norm.running_var[:] = [0.5, -1.0, 90.0], [1.0, 2.0, 0.5]
    # Pixels far from 0, of channels last in memory.
    drawn = RNG.standard_normal((shape[0], *shape[2:], 3)) + np.array([0.0, -1.0, 100.0])
    x = Tensor(drawn, requires_grad=True)
    dy = RNG.standard_normal(shape).astype(np.float32)
    norm.train() if training else norm.eval()
    y, gradients = normalised(np.moveaxis(x.data, -1, 1), dy, norm, training)
    with use_backend(backend):
        result = norm(x.permute(0, 3, 1, 2))
        norm.running_mean += 7  # after its use
        (result * dy).sum().backward()
    np.testing.assert_allclose(result.data, y, rtol=1e-4, atol=2e-4)
    found = np.moveaxis(x.grad, -1, 1), norm.gamma.grad, norm.beta.grad
    for one, expected in zip(found, gradients, strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("backend", ["naive", "numpy", "native", "auto"])
def test_batch_norm_of_nothing_and_of_doubles(backend: str) -> None:
    norm = BatchNorm2d(2).eval()
    with use_backend(backend):
        assert norm(np.zeros((0, 2, 3, 3))).shape == (0, 2, 3, 3)
        x = double((3, 2, 2, 2))
        norm.train()
        result = norm(x)
        result.sum().backward()
    assert result.dtype == x.grad.dtype == np.float64 and norm.gamma.grad.dtype == np.float32


@pytest.mark.parametrize(
    "layer", [Conv2d(3, 2, 3), MaxPool2d(2), AvgPool2d(2), BatchNorm2d(3), SimpleCNN()]
)
@pytest.mark.parametrize("shape", [(3, 8, 8), (8, 8), (1, 1, 3, 8, 8), ()])
def test_other_ranks_are_refused(layer: Any, shape: Any) -> None:
    with pytest.raises(ShapeError, match="4D"):
        layer(np.ones(shape))


def test_other_images_are_refused() -> None:
    for layer in (Conv2d(3, 2, 3), BatchNorm2d(3), SimpleCNN()):
        with pytest.raises(ShapeError, match="3 channels, got 4"):
            layer(np.ones((1, 4, 8, 8)))
    with pytest.raises(ShapeError, match="does not fit"):
        Conv2d(1, 1, 5)(np.ones((1, 1, 4, 4)))
    with pytest.raises(ShapeError, match="more than one value"):
        BatchNorm2d(2)(np.ones((1, 2, 1, 1)))
    for sizes in ((0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 3, 0), (1, 1, 3, 1, -1), (1, 1, 2.5)):
        with pytest.raises(InvalidValue):
            Conv2d(*sizes)
    with pytest.raises(InvalidValue):
        BatchNorm2d(2, eps=0)


def test_an_empty_batch_passes() -> None:
    x = np.zeros((0, 3, 32, 32))
    assert SimpleCNN()(x).shape == (0, 10)
    assert AvgPool2d(2)(x).shape == (0, 3, 16, 16)


def test_a_small_network() -> None:
    model = SimpleCNN(num_classes=5)
    result = model(RNG.standard_normal((2, 3, 32, 32)))
    assert result.shape == (2, 5)
    result.sum().backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in model.parameters())
    assert len(model.parameters()) == 6
    assert spatial.Conv2d is Conv2d
    assert Conv2d(1, 1, 3, bias=False).bias is None
    assert Conv2d(1, 2, 3, bias=False)(np.ones((1, 1, 4, 4))).shape == (1, 2, 2, 2)
    assert "kernel_size=(3, 3)" in repr(model)
