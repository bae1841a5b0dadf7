"""The fourteen programs as plain Numba loops: elementwise ones flat, the others a row at a time."""

from __future__ import annotations

import math

import numpy as np
from numba import njit, prange

_plain = njit(parallel=True, fastmath=True)
_f = np.float32


@_plain
def gelu_tanh(x, out):
    for i in prange(x.size):
        v = x[i]
        out[i] = (
            _f(0.5) * v * (_f(1) + math.tanh(_f(0.7978845608) * (v + _f(0.044715) * v * v * v)))
        )


@_plain
def gelu_erf(x, out):
    for i in prange(x.size):
        out[i] = _f(0.5) * x[i] * (_f(1) + math.erf(x[i] * _f(0.7071067812)))


@_plain
def silu(x, out):
    for i in prange(x.size):
        out[i] = x[i] / (_f(1) + math.exp(-x[i]))


@_plain
def swiglu(x, gate, out):
    for i in prange(x.size):
        out[i] = gate[i] / (_f(1) + math.exp(-gate[i])) * x[i]


@_plain
def softmax(x, out):
    for i in prange(x.shape[0]):
        largest = x[i].max()
        total = _f(0)
        for j in range(x.shape[1]):
            out[i, j] = math.exp(x[i, j] - largest)
            total += out[i, j]
        for j in range(x.shape[1]):
            out[i, j] /= total


@_plain
def log_softmax(x, out):
    for i in prange(x.shape[0]):
        largest = x[i].max()
        total = _f(0)
        for j in range(x.shape[1]):
            total += math.exp(x[i, j] - largest)
        shift = largest + math.log(total)
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] - shift


@_plain
def layer_norm(x, gain, bias, out):
    for i in prange(x.shape[0]):
        mean = x[i].mean()
        square = _f(0)
        for j in range(x.shape[1]):
            square += (x[i, j] - mean) ** 2
        scale = _f(1) / math.sqrt(square / _f(x.shape[1]) + _f(1e-5))
        for j in range(x.shape[1]):
            out[i, j] = (x[i, j] - mean) * scale * gain[j] + bias[j]


@_plain
def rms_norm(x, gain, out):
    for i in prange(x.shape[0]):
        square = _f(0)
        for j in range(x.shape[1]):
            square += x[i, j] * x[i, j]
        scale = _f(1) / math.sqrt(square / _f(x.shape[1]) + _f(1e-6))
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] * scale * gain[j]


@_plain
def cross_entropy(logits, labels, classes, out):
    for i in prange(logits.shape[0]):
        largest = logits[i].max()
        total = _f(0)
        for j in range(logits.shape[1]):
            total += math.exp(logits[i, j] - largest)
        out[i] = largest + math.log(total) - logits[i, labels[i]]


@_plain
def adam(w, g, m, v, step, out, mean, square):
    scale = _f(1e-3 / (1 - 0.9**step))
    correction = _f(1 / (1 - 0.999**step))
    for i in prange(w.size):
        mean[i] = _f(0.9) * m[i] + _f(1 - 0.9) * g[i]
        square[i] = _f(0.999) * v[i] + _f(1 - 0.999) * g[i] * g[i]
        out[i] = w[i] - scale * mean[i] / (math.sqrt(square[i] * correction) + _f(1e-8))


@_plain
def black_scholes(spot, strike, years, call, put):
    for i in prange(spot.size):
        spread = _f(0.3) * math.sqrt(years[i])
        d1 = (math.log(spot[i] / strike[i]) + _f(0.02 + 0.3**2 / 2) * years[i]) / spread
        discounted = strike[i] * math.exp(_f(-0.02) * years[i])
        below1 = _f(0.5) + _f(0.5) * math.erf(d1 * _f(0.7071067812))
        below2 = _f(0.5) + _f(0.5) * math.erf((d1 - spread) * _f(0.7071067812))
        call[i] = spot[i] * below1 - discounted * below2
        put[i] = call[i] - spot[i] + discounted


@_plain
def haversine(lat1, lon1, lat2, lon2, out):
    for i in prange(lat1.size):
        a = math.sin((lat2[i] - lat1[i]) / _f(2)) ** 2
        b = math.sin((lon2[i] - lon1[i]) / _f(2)) ** 2
        a += math.cos(lat1[i]) * math.cos(lat2[i]) * b
        out[i] = _f(2 * 6371.0) * math.asin(math.sqrt(min(a, _f(1))))


@_plain
def row_distances(a, b, out):
    for i in prange(a.shape[0]):
        total = _f(0)
        for j in range(a.shape[1]):
            total += (a[i, j] - b[i, j]) ** 2
        out[i] = math.sqrt(total)


@_plain
def polynomial_root(x, out):
    for i in prange(x.size):
        v = x[i]
        inner = ((_f(0.25) * v - _f(0.5)) * v + _f(1.5)) * v - _f(2)
        out[i] = math.sqrt(abs(inner) + _f(1))


def _like(count):
    return lambda x, *others: [x.shape] * count


def _by_row(x, *others):
    return [x.shape[:1]]


LOOPS = {
    "gelu tanh": (gelu_tanh, _like(1)),
    "gelu erf": (gelu_erf, _like(1)),
    "silu": (silu, _like(1)),
    "swiglu": (swiglu, _like(1)),
    "softmax": (softmax, _like(1)),
    "log-softmax": (log_softmax, _like(1)),
    "layer norm": (layer_norm, _like(1)),
    "RMS norm": (rms_norm, _like(1)),
    "cross-entropy": (cross_entropy, _by_row),
    "Adam step": (adam, _like(3)),
    "Black-Scholes": (black_scholes, _like(2)),
    "haversine": (haversine, _like(1)),
    "row distances": (row_distances, _by_row),
    "polynomial root": (polynomial_root, _like(1)),
}
