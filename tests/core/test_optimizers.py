"""Steps against the formulas in float64, written out once more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinytorch import SGD, Adam, AdamW, Linear, Tensor
from tinytorch.backends.recording import recording
from tinytorch.errors import InvalidValue, ShapeError

START = np.random.default_rng(0).standard_normal((3, 4))
GRADIENTS = np.random.default_rng(1).standard_normal((5, 3, 4))


def run(kind: Any, dtype: Any = np.float64, **settings: Any) -> np.ndarray:
    p = Tensor(START, requires_grad=True, dtype=dtype)
    optimizer = kind([p], **settings)
    for grad in GRADIENTS:
        optimizer.zero_grad()
        p.grad = grad.astype(dtype)
        optimizer.step()
    assert optimizer.step_count == 5
    assert p.dtype == dtype
    return p.data


def sgd(lr: float, momentum: float = 0.0, weight_decay: float = 0.0) -> np.ndarray:
    p, velocity = START.copy(), None
    for grad in GRADIENTS:
        g = grad + weight_decay * p
        velocity = g if velocity is None else momentum * velocity + g
        p = p - lr * (velocity if momentum else g)
    return p


def adam(lr: float, betas: Any, eps: float, weight_decay: float, decoupled: bool) -> np.ndarray:
    p, m, v = START.copy(), np.zeros_like(START), np.zeros_like(START)
    for step, grad in enumerate(GRADIENTS, 1):
        if decoupled:
            p = p * (1 - lr * weight_decay)
        g = grad if decoupled else grad + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g * g
        m_hat, v_hat = m / (1 - betas[0] ** step), v / (1 - betas[1] ** step)
        p = p - lr * m_hat / (np.sqrt(v_hat) + eps)
    return p


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_a_gradient_of_another_type_counts_as_one_of_the_parameters(kind: Any) -> None:
    found = []
    for dtype in (np.float32, np.float64):
        p = Tensor(START, requires_grad=True)
        p.grad = GRADIENTS[0].astype(dtype)
        kind([p], lr=0.1).step()
        found.append(p.data)
    assert np.array_equal(*found)


@pytest.mark.parametrize(
    "settings",
    [{"lr": 0.1}, {"lr": 0.1, "momentum": 0.9}, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.2}],
)
def test_sgd(settings: Any) -> None:
    np.testing.assert_allclose(run(SGD, **settings), sgd(**settings), rtol=1e-13)
    np.testing.assert_allclose(
        run(SGD, np.float32, **settings), sgd(**settings), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize(("kind", "decoupled"), [(Adam, False), (AdamW, True)])
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_adam(kind: Any, decoupled: bool, weight_decay: float) -> None:
    settings = {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": weight_decay}
    expected = adam(**settings, decoupled=decoupled)
    np.testing.assert_allclose(run(kind, **settings), expected, rtol=1e-12)
    np.testing.assert_allclose(run(kind, np.float32, **settings), expected, rtol=1e-4, atol=1e-6)


def test_defaults_are_pytorchs() -> None:
    p = [Tensor([1.0], requires_grad=True)]
    assert SGD(p).lr == 0.01 and SGD(p).momentum == 0
    assert (Adam(p).lr, Adam(p).betas, Adam(p).eps) == (0.001, (0.9, 0.999), 1e-8)
    assert Adam(p).weight_decay == 0 and AdamW(p).weight_decay == 0.01


def test_parameters_without_a_gradient_stay() -> None:
    a, b = Tensor([1.0], requires_grad=True), Tensor([2.0], requires_grad=True)
    optimizer = Adam([a, b], lr=0.5)
    a.grad = np.ones(1, np.float32)
    optimizer.step()
    assert b.tolist() == [2] and a.item() == pytest.approx(0.5)
    optimizer.zero_grad()
    assert a.grad is None


def test_the_array_a_tensor_was_made_from_stays() -> None:
    given = np.ones(3, np.float32)
    p = Tensor(given, requires_grad=True)
    before = p.data
    p.grad = np.ones(3)
    SGD([p], lr=1.0).step()
    assert given.tolist() == before.tolist() == [1, 1, 1] and p.tolist() == [0, 0, 0]


def test_an_array_put_in_later_is_what_is_updated() -> None:
    p = Tensor([1.0], requires_grad=True)
    optimizer = SGD([p], lr=1.0)
    p.grad = np.ones(1)
    optimizer.step()
    p.data = np.array([10.0])
    optimizer.step()
    assert p.tolist() == [9]


def test_gradients_of_other_kinds() -> None:
    p = Tensor([[1.0, 2.0]], requires_grad=True)
    optimizer = SGD([p], lr=1.0)
    for grad in (Tensor([[1.0, 1.0]]), [[1.0, 1.0]], np.ones((1, 2), np.int64)):
        p.grad = grad  # type: ignore[assignment]
        optimizer.step()
    assert p.tolist() == [[-2, -1]]
    p.grad = np.ones(2)
    with pytest.raises(ShapeError, match=r"\(1, 2\).*\(2,\)"):
        optimizer.step()


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        (SGD, {"lr": -1}, "lr"),
        (SGD, {"lr": "fast"}, "lr"),
        (SGD, {"lr": np.nan}, "lr"),
        (SGD, {"momentum": 1.0}, "momentum"),
        (SGD, {"momentum": -0.1}, "momentum"),
        (SGD, {"weight_decay": -1}, "weight_decay"),
        (Adam, {"betas": (1.0, 0.9)}, r"betas\[0\]"),
        (Adam, {"betas": (0.9, -0.1)}, r"betas\[1\]"),
        (Adam, {"betas": (0.9,)}, "two numbers"),
        (AdamW, {"eps": -1e-8}, "eps"),
    ],
)
def test_settings_are_refused(kind: Any, settings: Any, words: str) -> None:
    with pytest.raises(InvalidValue, match=words):
        kind([Tensor([1.0], requires_grad=True)], **settings)


def test_parameters_are_refused() -> None:
    with pytest.raises(InvalidValue, match="at least one"):
        SGD([])
    with pytest.raises(InvalidValue, match="got int"):
        SGD([1])  # type: ignore[list-item]
    with pytest.raises(InvalidValue, match=r"use \[tensor\]"):
        SGD(Tensor([1.0]))  # type: ignore[arg-type]
    layer = Linear(2, 2)
    assert len(SGD([*layer.parameters(), layer.bias]).params) == 2
    assert len(SGD(p for p in layer.parameters()).params) == 2


def test_momentum_can_be_taken_and_put_back() -> None:
    p = Tensor([1.0, 2.0], requires_grad=True)
    optimizer = SGD([p], lr=0.1, momentum=0.9)
    assert optimizer.has_momentum() and optimizer.get_momentum_state() == [None]
    p.grad = np.array([1.0, 2.0])
    optimizer.step()
    state = optimizer.get_momentum_state()
    assert state is not None and state[0].tolist() == [1, 2]
    state[0][:] = 5
    assert optimizer.get_momentum_state()[0].tolist() == [1, 2]
    optimizer.set_momentum_state(state)
    assert optimizer.get_momentum_state()[0].tolist() == [5, 5]
    with pytest.raises(InvalidValue, match="2 velocities"):
        optimizer.set_momentum_state([None, None])
    with pytest.raises(ShapeError, match=r"\(3,\)"):
        optimizer.set_momentum_state([np.ones(3)])
    assert not Adam([p]).has_momentum() and Adam([p]).get_momentum_state() is None
    assert SGD([p]).get_momentum_state() is None
    with pytest.raises(InvalidValue, match="keeps no momentum"):
        Adam([p]).set_momentum_state([np.ones(2)])


@pytest.mark.parametrize("kind", [Adam, AdamW, lambda p, lr: SGD(p, lr, momentum=0.9)])
def test_a_state_goes_on_as_if_nothing_had_been(kind: Any) -> None:
    def step(optimizer: Any, i: int) -> None:
        optimizer.params[0].grad = GRADIENTS[i].astype(np.float32)
        optimizer.step()

    whole, half = Tensor(START, requires_grad=True), Tensor(START, requires_grad=True)
    first, second = kind([whole], lr=0.1), kind([half], lr=0.1)
    for i in range(5):
        step(first, i)
    for i in range(2):
        step(second, i)
    third = kind([half], lr=9.0)
    third.load_state_dict(second.state_dict())
    for i in range(2, 5):
        step(third, i)
    np.testing.assert_array_equal(whole.data, half.data)
    broken = second.state_dict()
    broken["moments"] = {**broken["moments"], "m.7": np.ones(3)}
    with pytest.raises(InvalidValue, match=r"m\.7"):
        third.load_state_dict(broken)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_a_large_parameter_steps_as_its_formula(momentum: float, weight_decay: float) -> None:
    """Beyond what NumPy does at once, a step is an op on the backend: the same step."""
    rng = np.random.default_rng(0)
    start, slope = rng.standard_normal((2, 300, 1000)).astype(np.float32)
    drawn, p = start.copy(), Tensor(start, requires_grad=True)
    optimizer = SGD([p], lr=0.3, momentum=momentum, weight_decay=weight_decay)
    w, v = start.astype(np.float64), np.zeros(start.shape)
    with recording() as recorder:
        for _ in range(3):
            p.grad = slope
            optimizer.step()
            v = momentum * v + slope + weight_decay * w
            w = w - 0.3 * v
    assert {call.op for call in recorder.calls} == {"momentum" if momentum else "sgd"}
    np.testing.assert_allclose(p.data, w, rtol=1e-5, atol=1e-6)
    if momentum:
        np.testing.assert_allclose(optimizer.get_momentum_state()[0], v, rtol=1e-5, atol=1e-6)
    assert (start == drawn).all()
