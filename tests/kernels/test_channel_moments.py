"""Moments of channels whose mean is far larger than their deviation."""

from __future__ import annotations

import numpy as np
import pytest

from tinytorch.kernels import registry


@pytest.mark.parametrize("rung", registry.rung_names("channel_moments"))
def test_a_large_mean_leaves_the_variance_right(rung: str) -> None:
    drawn = 1e4 + np.random.default_rng(0).normal(size=(16, 8, 400))
    x = drawn.astype(np.float32)
    mean, variance = registry.get("channel_moments", rung).function(x)
    exact = x.astype(np.float64)
    assert np.allclose(mean, exact.mean(axis=(0, 2)), rtol=1e-7)
    assert np.allclose(variance, exact.var(axis=(0, 2)), rtol=2e-6)
