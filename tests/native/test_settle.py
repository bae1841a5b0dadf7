"""What an encoder's sums in INT8 are settled by, against the functions that they stand for."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from tinytorch.native.encoder import settle


def _erf(x: float) -> float:
    return 0.5 * (1 + math.erf(x / math.sqrt(2)))


def _tanh(x: float) -> float:
    return 0.5 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


@pytest.mark.parametrize(
    ("activation", "exact"), [(settle._GELU_TANH, _tanh), (settle._GELU_ERF, _erf)]
)
def test_gelu_errs_by_far_less_than_a_code_s_step(
    activation: int, exact: Callable[[float], float]
) -> None:
    end, terms = settle._POLYNOMIALS[activation]
    assert len(terms) == settle.TERMS
    x = np.linspace(-8, 8, 40_001)
    inside = np.clip(x, -end, end)
    found = x * (0.5 + inside * np.polynomial.Polynomial(terms)(inside**2))
    wanted = x * np.array([exact(value) for value in x])
    near = np.abs(x) <= end
    assert np.abs(found - wanted)[near].max() <= 2e-4
    # Beyond, the factor is a constant, off 0 or 1 by so little for values up to 8.
    assert np.abs(found - wanted)[~near].max() <= 5e-4
