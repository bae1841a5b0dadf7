"""The fourteen programs in JAX, through its own functions where it has them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
from jax import numpy as jnp
from jax.scipy.special import erf

_EARTH_RADIUS_KM = 6371.0
Array = Any


def _layer_norm(x: Array, gain: Array, bias: Array) -> Array:
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred * centred).mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(variance + 1e-5) * gain + bias


def _rms_norm(x: Array, gain: Array) -> Array:
    return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6) * gain


def _cross_entropy(logits: Array, labels: Array, classes: Array) -> Array:
    picked = jnp.take_along_axis(logits, labels[:, None], -1)[:, 0]
    return (jax.nn.logsumexp(logits, -1) - picked).mean()


def _adam(w: Array, g: Array, m: Array, v: Array, step: Any) -> tuple[Array, ...]:
    m = 0.9 * m + (1 - 0.9) * g
    v = 0.999 * v + (1 - 0.999) * g * g
    root = jnp.sqrt(v / (1 - 0.999**step)) + 1e-8
    return w - 1e-3 / (1 - 0.9**step) * m / root, m, v


def _black_scholes(spot: Array, strike: Array, years: Array) -> tuple[Array, Array]:
    rate, volatility = 0.02, 0.3
    spread = volatility * jnp.sqrt(years)
    d1 = (jnp.log(spot / strike) + (rate + volatility**2 / 2) * years) / spread
    d2 = d1 - spread
    discounted = strike * jnp.exp(-rate * years)
    below1 = 0.5 + 0.5 * erf(d1 * math.sqrt(0.5))
    below2 = 0.5 + 0.5 * erf(d2 * math.sqrt(0.5))
    call = spot * below1 - discounted * below2
    return call, call - spot + discounted


def _haversine(lat1: Array, lon1: Array, lat2: Array, lon2: Array) -> Array:
    a = jnp.sin((lat2 - lat1) / 2) ** 2
    a = a + jnp.cos(lat1) * jnp.cos(lat2) * jnp.sin((lon2 - lon1) / 2) ** 2
    return 2 * _EARTH_RADIUS_KM * jnp.arcsin(jnp.sqrt(jnp.minimum(a, 1)))


FORMULAS: dict[str, Callable[..., Any]] = {
    "gelu tanh": functools.partial(jax.nn.gelu, approximate=True),
    "gelu erf": functools.partial(jax.nn.gelu, approximate=False),
    "silu": jax.nn.silu,
    "swiglu": lambda x, gate: jax.nn.silu(gate) * x,
    "softmax": lambda x: jax.nn.softmax(x, -1),
    "log-softmax": lambda x: jax.nn.log_softmax(x, -1),
    "layer norm": _layer_norm,
    "RMS norm": _rms_norm,
    "cross-entropy": _cross_entropy,
    "Adam step": _adam,
    "Black-Scholes": _black_scholes,
    "haversine": _haversine,
    "row distances": lambda a, b: jnp.sqrt(((a - b) ** 2).sum(-1)),
    "polynomial root": lambda x: jnp.sqrt(jnp.abs(((0.25 * x - 0.5) * x + 1.5) * x - 2) + 1),
}
