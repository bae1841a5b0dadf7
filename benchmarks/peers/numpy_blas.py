"""NumPy and the BLAS that it brings, written as people write it: an array operation a step."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from peers import Run

Params = Mapping[str, Any]


def start(threads: int) -> str:
    """Say which NumPy; its BLAS reads the number of threads from the environment."""
    return np.__version__


def matmul(params: Params, a: Any, b: Any) -> Run:
    """Return np.matmul into an output of its own."""
    return Run(functools.partial(np.matmul, a, b, out=np.matmul(a, b)))


def _gelu(z: Any) -> Any:
    return 0.5 * z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z * z * z)))


def linear(params: Params, x: Any, w: Any, b: Any) -> Run:
    """Return the product, the bias and the activation, in turn."""
    act = {"gelu": _gelu, "relu": lambda z: np.maximum(z, 0), "none": lambda z: z}
    chosen = act[params["activation"]]
    return Run(lambda: chosen(x @ w + b), preallocated=False)


def program(params: Params, *arrays: Any) -> Run:
    """Return one of the programs as it stands."""
    from programs import PROGRAMS

    return Run(functools.partial(PROGRAMS[params["program"]].function, *arrays), False)


MAKERS = {"matmul": matmul, "linear": linear, "program": program}
