"""Whole trainings beside PyTorch's, where it is installed: 20 steps, loss by loss."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import tinytorch as tt

STEPS = 20
SIZES = (12, 32, 16, 5)


def drawn() -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Return weights and biases of an MLP, and one batch."""
    rng = np.random.default_rng(3)
    weights: list[np.ndarray] = []
    for i, o in itertools.pairwise(SIZES):
        weights += [rng.normal(0, i**-0.5, (i, o)), rng.normal(0, 0.1, o)]
    batch = rng.normal(size=(24, SIZES[0])).astype(np.float32)
    return [w.astype(np.float32) for w in weights], batch, rng.integers(0, SIZES[-1], 24)


def ours(kind: str, options: dict[str, float]) -> list[float]:
    weights, batch, labels = drawn()
    params = [tt.Tensor(w.copy(), requires_grad=True) for w in weights]
    optimizer = getattr(tt, kind)(params, **options)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        h = tt.Tensor(batch)
        for number in range(0, len(params), 2):
            h = h @ params[number] + params[number + 1]
            h = h.relu() if number == 0 else h.gelu() if number == 2 else h
        loss = tt.CrossEntropyLoss()(h, labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def theirs(torch: Any, kind: str, options: dict[str, float]) -> list[float]:
    weights, batch, labels = drawn()
    params = [torch.tensor(w.copy(), requires_grad=True) for w in weights]
    optimizer = getattr(torch.optim, kind)(params, **options)
    functional = torch.nn.functional
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        h = torch.tensor(batch)
        for number in range(0, len(params), 2):
            h = h @ params[number] + params[number + 1]
            if number < 4:
                h = functional.gelu(h, approximate="tanh") if number else functional.relu(h)
        loss = functional.cross_entropy(h, torch.tensor(labels))
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    return losses


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("SGD", {"lr": 0.1}),
        ("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
        ("AdamW", {"lr": 1e-3, "weight_decay": 0.1}),
    ],
)
def test_the_losses_are_pytorchs(kind: str, options: dict[str, float]) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    found = ours(kind, options)
    assert found[-1] < found[0]
    np.testing.assert_allclose(found, theirs(torch, kind, options), rtol=1e-4)
