"""JAX: jitted, and waited for. It allocates its outputs; there is no `out=`."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

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


def attention(params: Params, q: Any, k: Any, v: Any) -> Run:
    """Return jax.nn.dot_product_attention, whose layout is (batch, tokens, heads, width)."""
    import jax

    attend = functools.partial(jax.nn.dot_product_attention, is_causal=params["causal"])
    moved = [np.ascontiguousarray(np.moveaxis(a, 1, 2)) for a in (q, k, v)]
    run = jitted(attend, *moved)
    return Run(run.call, False, _NOTE, lambda: np.moveaxis(np.asarray(run.call()), 2, 1))


def _convolve(params: Params) -> Any:
    import jax

    step, edge = (params["stride"],) * 2, ((params["padding"],) * 2,) * 2
    return lambda x, w: jax.lax.conv_general_dilated(x, w, step, edge)


def conv2d(params: Params, x: Any, w: Any, b: Any) -> Run:
    """Return a jitted convolution with its bias."""
    convolve = _convolve(params)
    return jitted(lambda x, w, b: convolve(x, w) + b[:, None, None], x, w, b)


def conv2d_backward(params: Params, dy: Any, x: Any, w: Any) -> Run:
    """Return both gradients; what the forward computes is not used, and not computed."""
    import jax

    convolve = _convolve(params)
    return jitted(lambda dy, x, w: jax.vjp(convolve, x, w)[1](dy), dy, x, w)


MAKERS = {
    "matmul": matmul,
    "linear": linear,
    "program": program,
    "attention": attention,
    "conv2d": conv2d,
    "conv2d_backward": conv2d_backward,
}
