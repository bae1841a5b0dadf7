from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tinytorch import (
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    MSELoss,
    Tensor,
    log_softmax,
    use_backend,
)
from tinytorch.core.gradcheck import gradcheck
from tinytorch.errors import InvalidValue, ShapeError

RNG = np.random.default_rng(0)
LOGITS, LABELS = RNG.standard_normal((6, 4)) * 3, np.array([0, 3, 1, 2, 2, 0])


def double(x: Any) -> Tensor:
    return Tensor(x, requires_grad=True, dtype=np.float64)


def reference(logits: np.ndarray, labels: np.ndarray) -> float:
    rows = [
        math.log(sum(math.exp(v) for v in row)) - row[t]
        for row, t in zip(logits, labels, strict=True)
    ]
    return sum(rows) / len(rows)


def test_mse() -> None:
    x, t = RNG.standard_normal((3, 4)), RNG.standard_normal((3, 4))
    loss = MSELoss()(Tensor(x), Tensor(t))
    assert loss.shape == () and loss.dtype == np.float32
    assert loss.item() == pytest.approx(((x - t) ** 2).mean(), rel=1e-6)
    assert MSELoss("sum")(x, t).item() == pytest.approx(((x - t) ** 2).sum(), rel=1e-6)
    assert gradcheck(MSELoss(), double(x), double(t))
    with pytest.raises(ShapeError, match=r"\(3, 4\).*\(3, 1\)"):
        MSELoss()(x, t[:, :1])


@pytest.mark.parametrize(
    "labels", [LABELS, LABELS.tolist(), Tensor(LABELS), LABELS.astype(np.uint8)]
)
def test_cross_entropy_takes_labels_of_any_kind(labels: Any) -> None:
    loss = CrossEntropyLoss()(Tensor(LOGITS), labels)
    assert loss.shape == () and loss.item() == pytest.approx(reference(LOGITS, LABELS), rel=1e-6)


def test_cross_entropy_has_a_gradient() -> None:
    assert gradcheck(lambda x: CrossEntropyLoss()(x, LABELS), double(LOGITS))
    assert gradcheck(lambda x: CrossEntropyLoss("sum")(x, LABELS) * 3, double(LOGITS))
    cube, labels = LOGITS.reshape(2, 3, 4), LABELS.reshape(2, 3)
    assert gradcheck(lambda x: CrossEntropyLoss()(x, labels), double(cube))
    strided = double(np.asfortranarray(LOGITS))
    assert gradcheck(lambda x: CrossEntropyLoss()(x, LABELS), strided)
    loss = CrossEntropyLoss()(strided, LABELS)
    assert type(loss._grad_fn).__name__ == "CrossEntropyBackward"


def test_cross_entropy_is_stable() -> None:
    for logits in ([[1e4, -1e4, 0.0]], [[3.0, 3.0, 3.0]], [[-3e38, 3e38, 0.0]]):
        x = Tensor(logits, requires_grad=True)
        loss = CrossEntropyLoss()(x, [1])
        loss.backward()
        assert np.isfinite(x.grad).all()
    assert CrossEntropyLoss()(Tensor([[1e4, -1e4]]), [0]).item() == 0
    assert CrossEntropyLoss()(Tensor([[1e4, -1e4]]), [1]).item() == 2e4
    assert CrossEntropyLoss()(Tensor([[5.0]]), [0]).item() == 0
    assert math.isnan(CrossEntropyLoss()(Tensor([[np.nan, 1.0]]), [0]).item())


@pytest.mark.parametrize(
    ("logits", "labels", "words"),
    [
        (LOGITS, LABELS[:5], r"\(6, 4\) and \(5,\)"),
        (LOGITS, [0, 1, 2, 3, 4, 0], "0 to 3 for 4 classes, got 0 to 4"),
        (LOGITS, [-1, 1, 2, 3, 0, 0], "got -1 to 3"),
        (LOGITS, [0.5, 1, 2, 3, 0, 0], "fractions"),
        (LOGITS, ["a"] * 6, "class numbers"),
        (np.zeros((0, 4)), np.zeros(0), "empty batch"),
        (np.zeros((2, 0)), np.zeros(2), r"\(2, 0\)"),
        (3.0, 0, r"\(\)"),
    ],
)
def test_cross_entropy_refuses(logits: Any, labels: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CrossEntropyLoss()(Tensor(logits), labels)


def test_binary_cross_entropy() -> None:
    p, t = RNG.uniform(0.05, 0.95, (5, 2)), RNG.integers(0, 2, (5, 2)).astype(float)
    expected = -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean()
    assert BinaryCrossEntropyLoss()(Tensor(p), t).item() == pytest.approx(expected, rel=1e-5)
    assert gradcheck(lambda x: BinaryCrossEntropyLoss()(x, t), double(p))
    assert gradcheck(lambda x: BinaryCrossEntropyLoss("sum")(x, t), double(p))
    certain = Tensor([0.0, 1.0], requires_grad=True)
    loss = BinaryCrossEntropyLoss()(certain, [1.0, 0.0])
    loss.backward()
    assert loss.item() == 100 and np.isfinite(certain.grad).all()
    with pytest.raises(InvalidValue, match="predictions from 0 to 1, got -2 to 3"):
        BinaryCrossEntropyLoss()([-2.0, 3.0], [0.0, 1.0])
    with pytest.raises(InvalidValue, match="targets"):
        BinaryCrossEntropyLoss()([0.5], [2.0])


@pytest.mark.parametrize("backend", ["naive", "numpy", "native", "auto"])
@pytest.mark.parametrize("shape", [(3, 5), (300, 250)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_losses_of_pairs_on_every_backend(backend: str, shape: Any, dtype: str) -> None:
    rng = np.random.default_rng(0)
    x, t = (rng.uniform(size=shape[::-1]).astype(dtype).T for _ in range(2))
    wide_x, wide_t = x.astype(np.float64), t.astype(np.float64)
    away = wide_x - wide_t
    terms = -(wide_t * np.log(wide_x) + (1 - wide_t) * np.log1p(-wide_x))
    expected = {
        MSELoss: ((away * away).mean(), 2 * away / x.size),
        BinaryCrossEntropyLoss: (terms.mean(), away / (wide_x * (1 - wide_x)) / x.size),
    }
    for kind, (loss, slope) in expected.items():
        given, target = (Tensor(a, requires_grad=True, dtype=dtype) for a in (x, t))
        with use_backend(backend):
            found = kind()(given, target)
            (found * 3).backward()
        assert found.shape == () and found.dtype == given.grad.dtype == dtype
        assert found.item() == pytest.approx(loss, rel=1e-5)
        np.testing.assert_allclose(given.grad, 3 * slope, rtol=1e-5)
        if kind is MSELoss:
            np.testing.assert_allclose(target.grad, -given.grad)


@pytest.mark.parametrize("backend", ["naive", "numpy", "native", "auto"])
def test_binary_cross_entropy_of_saturated_probabilities(backend: str) -> None:
    """Logits of 1e4 either way: a certain mistake costs 100, what is right nothing."""
    logits = Tensor(np.tile([1e4, -1e4], 5000), requires_grad=True)
    with use_backend(backend):
        right = BinaryCrossEntropyLoss()(logits.sigmoid(), np.tile([1.0, 0.0], 5000))
        wrong = BinaryCrossEntropyLoss()(logits.sigmoid(), np.tile([0.0, 1.0], 5000))
        wrong.backward()
    assert right.item() == 0 and wrong.item() == pytest.approx(100, rel=1e-5)
    assert np.isfinite(logits.grad).all()


def test_log_softmax() -> None:
    expected = LOGITS - np.log(np.exp(LOGITS).sum(-1, keepdims=True))
    np.testing.assert_allclose(log_softmax(Tensor(LOGITS)).data, expected, rtol=1e-5, atol=1e-6)
    assert log_softmax(Tensor([[1e4, 0.0]])).tolist() == [[0, -1e4]]
    assert log_softmax(LOGITS, dim=0).shape == (6, 4)


def test_reductions_are_two() -> None:
    for kind in (MSELoss, CrossEntropyLoss, BinaryCrossEntropyLoss):
        with pytest.raises(InvalidValue, match="'mean' or 'sum', got 'none'"):
            kind("none")
