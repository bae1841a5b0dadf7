"""Gradients, and whole trainings, beside PyTorch's, where it is installed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from alike import ALIKE
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import tinytorch as tt
from tinytorch.core import graph
from tinytorch.core.attention import create_causal_mask
from tinytorch.core.rules.sequences import LayerNormBackward
from tinytorch.native import threads
from tinytorch.ops.spec import LAYOUTS, laid_out

RNG = np.random.default_rng(0)


def pytorch() -> Any:
    # NOTE: it brings an OpenMP of its own, and ours asks to be made ready first.
    threads.prepare()
    return pytest.importorskip("torch", reason="PyTorch is not installed")


def agree(ours: Callable[..., Any], theirs: Callable[..., Any], arrays: list[np.ndarray]) -> None:
    """Compare results, and the gradients of a weighted sum of them, in float64."""
    torch = pytorch()
    mine = [tt.Tensor(a, requires_grad=True, dtype=np.float64) for a in arrays]
    same = [torch.tensor(np.array(a), requires_grad=True, dtype=torch.float64) for a in arrays]
    result, other = ours(*mine), theirs(*same)
    np.testing.assert_allclose(result.data, other.detach().numpy(), rtol=1e-7, atol=1e-9)
    weights = RNG.standard_normal(result.shape)
    (result * weights).sum().backward()
    (other * torch.tensor(weights)).sum().backward()
    for a, b in zip(mine, same, strict=True):
        np.testing.assert_allclose(a.grad, b.grad.numpy(), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ALIKE)
def test_a_rule_of_one_operand(name: str, layout: str) -> None:
    agree(ALIKE[name], ALIKE[name], [laid_out(RNG.standard_normal((2, 3)), layout)])


PAIRS: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "pow": lambda a, b: a**b,
}


@settings(max_examples=15, deadline=None)
@given(
    shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3), data=st.data()
)
@pytest.mark.parametrize("name", PAIRS)
def test_broadcast_arithmetic(name: str, shapes: Any, data: st.DataObject) -> None:
    arrays = [
        laid_out(np.abs(RNG.standard_normal(shape)) + 0.3, data.draw(st.sampled_from(LAYOUTS)))
        for shape in shapes.input_shapes
    ]
    agree(PAIRS[name], PAIRS[name], arrays)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("a", "b"),
    [((3, 4), (4, 2)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 1)), ((4,), (4, 2)), ((3, 4), (4,))],
)
def test_products(a: Any, b: Any, layout: str) -> None:
    arrays = [laid_out(RNG.standard_normal(shape), layout) for shape in (a, b)]
    agree(lambda x, y: x @ y, lambda x, y: x @ y, arrays)


def test_what_they_spell_otherwise() -> None:
    functional = pytorch().nn.functional
    x = RNG.standard_normal((3, 8))
    agree(lambda x: x.gelu(), lambda x: functional.gelu(x, approximate="tanh"), [x])
    agree(lambda x: x.gelu(approximate="none"), functional.gelu, [x])
    agree(
        lambda x, g, b: graph.apply(LayerNormBackward, x, g, b, eps=1e-5),
        lambda x, g, b: functional.layer_norm(x, (8,), g, b),
        [x, RNG.standard_normal(8), RNG.standard_normal(8)],
    )


def test_images() -> None:
    functional = pytorch().nn.functional
    images = RNG.standard_normal((2, 3, 8, 8))
    kernel, bias = RNG.standard_normal((4, 3, 3, 3)), RNG.standard_normal(4)
    layer = tt.Conv2d(3, 4, 3, stride=2, padding=1)

    def convolved(x: Any, w: Any, b: Any) -> Any:
        layer.weight, layer.bias = w, b
        return layer(x)

    agree(
        convolved,
        lambda x, w, b: functional.conv2d(x, w, b, stride=2, padding=1),
        [images, kernel, bias],
    )
    agree(tt.MaxPool2d(2), lambda x: functional.max_pool2d(x, 2), [images])
    agree(tt.AvgPool2d(2), lambda x: functional.avg_pool2d(x, 2), [images])


def test_causal_attention() -> None:
    functional = pytorch().nn.functional
    layer, mask = tt.MultiHeadAttention(8, 2), create_causal_mask(5)
    projections = (layer.q_proj, layer.k_proj, layer.v_proj, layer.out_proj)

    def ours(x: Any, *weights: Any) -> Any:
        for projection, w, b in zip(projections, weights[:4], weights[4:], strict=True):
            projection.weight, projection.bias = w, b
        return layer(x, mask)

    def theirs(x: Any, *weights: Any) -> Any:
        q, k, v = (
            (x @ w + b).reshape(3, 5, 2, 4).transpose(1, 2)
            for w, b in zip(weights[:3], weights[4:7], strict=True)
        )
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return y.transpose(1, 2).reshape(3, 5, 8) @ weights[3] + weights[7]

    weights = [RNG.standard_normal((8, 8)) for _ in range(4)]
    biases = [RNG.standard_normal(8) for _ in range(4)]
    agree(ours, theirs, [RNG.standard_normal((3, 5, 8)), *weights, *biases])


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
        losses.append(loss.item())
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
    torch = pytorch()
    found = ours(kind, options)
    assert found[-1] < found[0]
    np.testing.assert_allclose(found, theirs(torch, kind, options), rtol=1e-4)
