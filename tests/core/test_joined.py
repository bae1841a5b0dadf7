"""Small parameters are updated together; what comes out is as if each had been updated alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinytorch as tt
from tinytorch.core import joined

SHAPES = ((3, 4), (5,), (20, 30), (2, 2))


def trained(kind: Any, **options: Any) -> tuple[list[Any], list[str]]:
    """Take steps in which a gradient is absent, a parameter replaced and the state put back."""
    rng = np.random.default_rng(1)
    params = [tt.Tensor(rng.normal(size=shape), requires_grad=True) for shape in SHAPES]
    optimizer = kind(params, lr=0.1, **options)
    for number in range(4):
        for i, p in enumerate(params):
            drawn = rng.normal(size=p.shape).astype(np.float32)
            p.grad = None if (number, i) == (2, 1) else drawn
        optimizer.step()
        if number == 1:
            params[0].data = params[0].data * 2
        if number == 2:
            optimizer.load_state_dict(optimizer.state_dict())
    return [p.data for p in params], sorted(optimizer.state_dict()["moments"])


@pytest.mark.parametrize("large", [1 << 17, 100])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (tt.SGD, {}),
        (tt.SGD, {"momentum": 0.9, "weight_decay": 0.1}),
        (tt.Adam, {"weight_decay": 0.1}),
        (tt.AdamW, {}),
    ],
)
def test_together_as_alone(
    kind: Any, options: dict[str, float], large: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tt.use_backend("numpy"):
        together, names = trained(kind, **options)
        monkeypatch.setattr(joined, "LARGE", 1)
        alone, alone_names = trained(kind, **options)
        monkeypatch.setattr(joined, "LARGE", large)
        some, _ = trained(kind, **options)
    assert names == alone_names
    for a, b, c in zip(together, alone, some, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(b, c)


def test_a_parameter_of_another_shape_is_updated_alone() -> None:
    params = [tt.Tensor(np.ones(n), requires_grad=True) for n in (2, 3)]
    optimizer = tt.SGD(params, lr=1.0)
    for shape in ((2,), (4,)):
        params[0].data = np.ones(shape, np.float32)
        for p in params:
            p.grad = np.ones(p.shape, np.float32)
        optimizer.step()
        np.testing.assert_array_equal(params[0].data, np.zeros(shape))


def test_rows_of_one_number_are_added() -> None:
    table = tt.Tensor(np.zeros((5, 2)), requires_grad=True)
    for numbers in ([[3, 1], [3, 3]], [4, 0], []):
        table.grad = None
        layer = tt.Embedding(5, 2)
        layer.weight = table
        out = layer(np.array(numbers, np.int64))
        given = np.arange(out.size, dtype=np.float32).reshape(out.shape)
        out.backward(given)
        expected = np.zeros((5, 2))
        np.add.at(expected, np.array(numbers, np.int64).reshape(-1), given.reshape(-1, 2))
        np.testing.assert_array_equal(table.grad, expected)
