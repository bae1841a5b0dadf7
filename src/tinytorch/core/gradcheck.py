"""Gradients against finite differences: is a backward right?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch.core.graph import no_grad
from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, VerificationError
from tinytorch.ops.spec import Array

_STEP = 6e-6  # near the cube root of float64's eps, where rounding and curvature balance


def numerical_gradient(
    function: Callable[..., Tensor], tensors: tuple[Tensor, ...], which: int, weights: Array
) -> Array:
    """Return d sum(weights * function(*tensors)) / d tensors[which], by central differences."""
    x = tensors[which]._data
    gradient = np.zeros(x.shape)
    with no_grad():
        for place in np.ndindex(x.shape):
            held = x[place]
            step = _STEP * max(1.0, abs(float(held)))
            x[place] = held + step
            above = float((function(*tensors)._data * weights).sum())
            x[place] = held - step
            below = float((function(*tensors)._data * weights).sum())
            x[place] = held
            gradient[place] = (above - below) / (2 * step)
    return gradient


def gradcheck(
    function: Callable[..., Tensor], *tensors: Tensor, rtol: float = 1e-5, atol: float = 1e-6
) -> bool:
    """Return True where the gradients of `function` equal finite differences.

    The Tensors must be float64, and those that require gradients are checked; a result with several
    elements is weighted at random, so that no error cancels. With a step of 6e-6 the differences
    are good to about 1e-10 of the function's size. Raises VerificationError with the first Tensor
    whose gradient is wrong, InvalidValue for inputs in lower precision.
    """
    if any(t.requires_grad and t.dtype != np.float64 for t in tensors):
        raise InvalidValue("gradcheck needs float64: Tensor(data, requires_grad=True, dtype='f8')")
    for t in tensors:
        t.grad = None
    result = function(*tensors)
    weights = np.random.default_rng(0).uniform(0.5, 1.5, result.shape)
    result.backward(weights.astype(result.dtype))
    for i, t in enumerate(tensors):
        if not t.requires_grad:
            continue
        expected = numerical_gradient(function, tensors, i, weights)
        found: Any = np.zeros(t.shape) if t.grad is None else t.grad
        if found.shape != expected.shape or not np.allclose(found, expected, rtol, atol):
            raise VerificationError(
                f"the gradient of argument {i} is wrong: backward gives {found}, finite "
                f"differences give {expected}"
            )
    return True
