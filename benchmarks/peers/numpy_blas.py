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


def attention(params: Params, q: Any, k: Any, v: Any) -> Run:
    """Return attention with its whole score matrix."""
    scale = np.float32(q.shape[-1] ** -0.5)
    hidden = np.triu(np.full((q.shape[-2], k.shape[-2]), -np.inf, np.float32), 1)

    def call() -> Any:
        scores = q @ k.swapaxes(-1, -2) * scale
        if params["causal"]:
            scores += hidden
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        return weights / weights.sum(-1, keepdims=True) @ v

    return Run(call, preallocated=False)


def dense(params: Params, w: Any, x: Any) -> Run:
    """Return the dense product, zeros and all."""
    return Run(functools.partial(np.matmul, w, x, out=np.matmul(w, x)), note="dense")


MAKERS = {
    "matmul": matmul,
    "linear": linear,
    "program": program,
    "attention": attention,
    "sparse": dense,
}
