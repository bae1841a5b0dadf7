"""Pooling beyond the conformance run: ties, NaN, odd sides, borders, wrong calls."""

from __future__ import annotations

import numpy as np
import pytest

from tinytorch import ops
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.kernels import pooling, registry
from tinytorch.ops.verify import run_checked

OPS = ("max_pool2d", "max_pool2d_gradient", "avg_pool2d", "avg_pool2d_gradient")
RUNGS = ("naive", "unfused", "parallel")

# (N, C, H, W), kernel, stride, padding
POOLS = [
    ((2, 3, 7, 9), 2, None, 0),
    ((2, 3, 7, 9), 3, 2, 1),
    ((1, 2, 8, 11), (3, 2), (1, 3), (1, 0)),
    ((1, 1, 5, 5), 5, 1, 2),
    ((2, 2, 9, 9), 2, 3, 1),
    ((3, 4, 1, 30), (1, 4), (1, 4), (0, 2)),
]


def case(op, pool, seed=0):
    shape, kernel, stride, padding = pool
    how = {"kernel_size": kernel, "stride": stride, "padding": padding}
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape).astype(np.float32)
    pooled = ops.get("max_pool2d").output_shape((shape,), **how)
    dy = rng.standard_normal(pooled).astype(np.float32)
    if op == "avg_pool2d_gradient":
        return (dy,), {**how, "input_size": shape[2:]}
    return ((x, dy) if op == "max_pool2d_gradient" else (x,)), how


@pytest.mark.parametrize("rung", RUNGS)
@pytest.mark.parametrize("pool", POOLS, ids=str)
@pytest.mark.parametrize("op", OPS)
def test_windows_of_every_kind(op, pool, rung):
    arrays, how = case(op, pool)
    run_checked(ops.get(op), registry.get(op, rung).function, arrays, how).require(op)


@pytest.mark.parametrize("rung", RUNGS)
def test_the_first_of_equals_gets_the_gradient(rung):
    x, dy = np.zeros((1, 1, 2, 4), np.float32), np.array([[[[3.0, 5.0]]]], np.float32)
    found = registry.get("max_pool2d_gradient", rung)(x, dy)
    assert np.array_equal(found[0, 0], [[3, 0, 5, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("rung", RUNGS)
def test_a_nan_is_the_largest(rung):
    x = np.array([[[[1.0, np.nan], [np.nan, 9.0]]]], np.float32)
    assert np.isnan(registry.get("max_pool2d", rung)(x)).all()
    dy = np.full((1, 1, 1, 1), 4, np.float32)
    found = registry.get("max_pool2d_gradient", rung)(x, dy)
    assert np.array_equal(found[0, 0], [[0, 4], [0, 0]])


@pytest.mark.parametrize("rung", RUNGS)
def test_a_border_never_wins(rung):
    x = np.full((1, 1, 2, 2), -np.inf, np.float32)
    dy = np.ones((1, 1, 2, 2), np.float32)
    how = {"kernel_size": 2, "stride": 2, "padding": 1}
    assert np.array_equal(
        registry.get("max_pool2d", rung)(x, **how), np.full((1, 1, 2, 2), -np.inf)
    )
    found = registry.get("max_pool2d_gradient", rung)(x, dy, **how)
    assert np.array_equal(found, dy)


@pytest.mark.parametrize("op", OPS)
def test_results_do_not_depend_on_the_number_of_threads(op, monkeypatch):
    arrays, how = case(op, ((8, 16, 33, 35), 3, 2, 1))
    results = []
    for count in (1, 2, 3):
        monkeypatch.setattr(pooling, "get_num_threads", lambda count=count: count)
        results.append(registry.get(op, "parallel")(*arrays, **how))
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_wrong_calls_are_refused_in_words():
    x = np.ones((1, 1, 4, 4), np.float32)
    with pytest.raises(InvalidValue, match="half of the window"):
        registry.get("max_pool2d", "parallel")(x, kernel_size=2, padding=2)
    with pytest.raises(ShapeError, match="4D"):
        registry.get("avg_pool2d", "parallel")(x[0])
    with pytest.raises(ShapeError, match="2x2 windows"):
        registry.get("max_pool2d_gradient", "parallel")(x, x)
    with pytest.raises(ShapeError, match="windows"):
        registry.get("avg_pool2d_gradient", "parallel")(x, input_size=(20, 20))
