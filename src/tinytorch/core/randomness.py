"""Where random numbers come from: NumPy's global generator, unless a loader has one of its own.

Existing programs seed with `np.random.seed(n)`; initialisation, dropout and shuffling repeat under
it, and under `manual_seed(n)`, which is the same.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinytorch.errors import InvalidValue
from tinytorch.ops.spec import Array, Shape

_own: contextvars.ContextVar[np.random.RandomState | None] = contextvars.ContextVar(
    "tinytorch_random", default=None
)


def generator() -> Any:
    """Return the generator to draw from here: the context's own, or NumPy's global one."""
    return _own.get() or np.random


@contextlib.contextmanager
def drawing_from(own: np.random.RandomState) -> Iterator[None]:
    """Draw from a generator of one's own inside the block (this thread's)."""
    token = _own.set(own)
    try:
        yield
    finally:
        _own.reset(token)


def manual_seed(seed: int) -> None:
    """Make everything random repeat from here on; the same as `np.random.seed(seed)`.

    Raises InvalidValue unless `seed` is an int from 0 to 2**32 - 1.
    """
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise InvalidValue(f"a seed is an int from 0 to 2**32 - 1, got {seed!r}")
    np.random.seed(int(seed))


def normal(shape: Shape, scale: float = 1.0) -> Array:
    """Draw float32 values from the normal distribution of mean 0 and standard deviation `scale`."""
    drawn: Array = generator().standard_normal(shape)
    return np.asarray(drawn * scale, np.float32)


def uniform(shape: Shape) -> Array:
    """Draw float64 values, evenly from 0 up to 1."""
    drawn: Array = generator().random_sample(shape)
    return drawn


def permutation(count: int) -> Array:
    """Return the numbers below `count` in random order."""
    order: Array = generator().permutation(count)
    return order


def derived() -> np.random.RandomState:
    """Return a new generator, seeded by one draw from the current one."""
    return np.random.RandomState(generator().randint(2**32, dtype=np.uint32))


def state() -> tuple[Array, dict[str, Any]]:
    """Return the global generator's state: its key, and the few numbers beside it."""
    _, key, place, has_gauss, gauss = np.random.get_state(legacy=True)
    return np.asarray(key), {"place": place, "has_gauss": has_gauss, "gauss": gauss}


def restore(key: Array, beside: dict[str, Any]) -> None:
    """Put the global generator back into a state that `state` returned."""
    place, has_gauss, gauss = beside["place"], beside["has_gauss"], beside["gauss"]
    np.random.set_state(("MT19937", key.astype(np.uint32), place, has_gauss, gauss))


def seeded(seed: int) -> Callable[[Shape], Array]:
    """Return what draws as `uniform` does, from a generator of its own with this seed."""
    own = np.random.RandomState(seed)
    return lambda shape: np.asarray(own.random_sample(shape))
