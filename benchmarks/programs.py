"""Fourteen programs as people write them in NumPy, each with a maker of inputs.

`PROGRAMS[name]` holds the plain function and `inputs(elements, dtype, seed)`, whose arrays have
about that many elements in all rows together (rows of 1024 where the program has rows). They are
the tests' and the benchmarks' common ground: fused, they are compared with themselves unfused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch.fuse import erf

Array = np.ndarray[Any, Any]
Inputs = tuple[Any, ...]
_WIDTH = 1024
_EARTH_RADIUS_KM = 6371.0


def gelu_tanh(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gelu_erf(x: Array) -> Array:
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def swiglu(x: Array, gate: Array) -> Array:
    return gate / (1 + np.exp(-gate)) * x


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def log_softmax(x: Array) -> Array:
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def layer_norm(x: Array, gain: Array, bias: Array) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + 1e-5) * gain + bias


def rms_norm(x: Array, gain: Array) -> Array:
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-6) * gain


def cross_entropy(logits: Array, labels: Array, classes: Array) -> Array:
    largest = logits.max(axis=-1)
    total = np.log(np.exp(logits - largest[:, None]).sum(axis=-1)) + largest
    return (total - np.where(classes == labels[:, None], logits, 0).sum(axis=-1)).mean()


def adam(
    weight: Array,
    gradient: Array,
    mean: Array,
    square: Array,
    step: int,
    rate: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
) -> tuple[Array, Array, Array]:
    mean = beta1 * mean + (1 - beta1) * gradient
    square = beta2 * square + (1 - beta2) * gradient**2
    scale = rate / (1 - beta1**step)
    root = np.sqrt(square / (1 - beta2**step)) + 1e-8
    return weight - scale * mean / root, mean, square


def black_scholes(
    spot: Array, strike: Array, years: Array, rate: float = 0.02, volatility: float = 0.3
) -> tuple[Array, Array]:
    spread = volatility * np.sqrt(years)
    d1 = (np.log(spot / strike) + (rate + volatility**2 / 2) * years) / spread
    d2 = d1 - spread
    discounted = strike * np.exp(-rate * years)
    below1 = 0.5 + 0.5 * erf(d1 * math.sqrt(0.5))
    below2 = 0.5 + 0.5 * erf(d2 * math.sqrt(0.5))
    call = spot * below1 - discounted * below2
    return call, call - spot + discounted


def haversine(lat1: Array, lon1: Array, lat2: Array, lon2: Array) -> Array:
    a = np.sin((lat2 - lat1) / 2) ** 2
    a = a + np.cos(lat1) * np.cos(lat2) * np.sin((lon2 - lon1) / 2) ** 2
    return 2 * _EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(a, 1)))


def row_distances(a: Array, b: Array) -> Array:
    return np.sqrt(((a - b) ** 2).sum(axis=-1))


def polynomial_root(x: Array) -> Array:
    return np.sqrt(np.abs(((0.25 * x - 0.5) * x + 1.5) * x - 2.0) + 1.0)


@dataclass(frozen=True)
class Program:
    """One program: `inputs(elements, dtype, seed)` makes its arguments.

    updates: the places of the arguments that its results replace, where it is run in place.
    """

    function: Callable[..., Any]
    inputs: Callable[[int, Any, int], Inputs]
    updates: tuple[int, ...] = ()


def _normal(arrays: int, width: int | None = None) -> Callable[[int, Any, int], Inputs]:
    """Return a maker of normal arrays, in rows of 1024 and followed by vectors of that width."""

    def make(elements: int, dtype: Any, seed: int) -> Inputs:
        rng = np.random.default_rng(seed)
        shape = (elements,) if width is None else (max(1, elements // width), width)
        return tuple(rng.standard_normal(shape).astype(dtype) for _ in range(arrays))

    return make


def _rows(vectors: int) -> Callable[[int, Any, int], Inputs]:
    def make(elements: int, dtype: Any, seed: int) -> Inputs:
        rng = np.random.default_rng(seed)
        given = [rng.standard_normal(_WIDTH).astype(dtype) for _ in range(vectors)]
        return (*_normal(1, _WIDTH)(elements, dtype, seed), *given)

    return make


def _logits(elements: int, dtype: Any, seed: int) -> Inputs:
    (logits,) = _normal(1, _WIDTH)(elements, dtype, seed)
    labels = np.random.default_rng(seed).integers(0, _WIDTH, logits.shape[0])
    return 3 * logits, labels.astype(np.int32), np.arange(_WIDTH, dtype=np.int32)


def _adam(elements: int, dtype: Any, seed: int) -> Inputs:
    weight, gradient, mean, square = _normal(4)(elements, dtype, seed)
    return weight, gradient, mean / 10, square**2, 3


def _options(elements: int, dtype: Any, seed: int) -> Inputs:
    rng = np.random.default_rng(seed)
    spans = ((50, 150), (50, 150), (0.1, 2))
    return tuple(rng.uniform(*span, elements).astype(dtype) for span in spans)


def _places(elements: int, dtype: Any, seed: int) -> Inputs:
    rng = np.random.default_rng(seed)
    spans = (np.pi / 2, np.pi) * 2
    return tuple(rng.uniform(-s, s, elements).astype(dtype) for s in spans)


PROGRAMS: dict[str, Program] = {
    "gelu tanh": Program(gelu_tanh, _normal(1)),
    "gelu erf": Program(gelu_erf, _normal(1)),
    "silu": Program(silu, _normal(1)),
    "swiglu": Program(swiglu, _normal(2)),
    "softmax": Program(softmax, _rows(0)),
    "log-softmax": Program(log_softmax, _rows(0)),
    "layer norm": Program(layer_norm, _rows(2)),
    "RMS norm": Program(rms_norm, _rows(1)),
    "cross-entropy": Program(cross_entropy, _logits),
    "Adam step": Program(adam, _adam, updates=(0, 2, 3)),
    "Black-Scholes": Program(black_scholes, _options),
    "haversine": Program(haversine, _places),
    "row distances": Program(row_distances, _normal(2, _WIDTH)),
    "polynomial root": Program(polynomial_root, _normal(1)),
}
