"""JAX: jitted, and waited for. It allocates its outputs; there is no `out=`."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any

from peers import Run

Params = Mapping[str, Any]
_NOTE = "no out="


def start(threads: int) -> str:
    """Load JAX for the CPU; it takes as many threads as this process has CPUs."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax

    return str(jax.__version__)


def jitted(function: Any, *arguments: Any) -> Run:
    """Return a call of the jitted function on arrays that are JAX's already."""
    import jax
    import numpy as np

    given = [jax.numpy.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments]
    made = jax.jit(function)
    return Run(lambda: jax.block_until_ready(made(*given)), False, _NOTE)


def matmul(params: Params, a: Any, b: Any) -> Run:
    """Return a jitted product in full precision."""
    import jax

    return jitted(functools.partial(jax.numpy.matmul, precision="highest"), a, b)


def linear(params: Params, x: Any, w: Any, b: Any) -> Run:
    """Return a jitted layer."""
    import jax

    activation = {
        "gelu": functools.partial(jax.nn.gelu, approximate=True),
        "relu": jax.nn.relu,
        "none": lambda z: z,
    }[params["activation"]]
    return jitted(lambda x, w, b: activation(x @ w + b), x, w, b)


def program(params: Params, *arrays: Any) -> Run:
    """Return one of the programs."""
    from peers import jax_programs

    return jitted(jax_programs.FORMULAS[params["program"]], *arrays)


MAKERS = {"matmul": matmul, "linear": linear, "program": program}
