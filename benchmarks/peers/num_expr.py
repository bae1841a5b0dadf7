"""numexpr: one expression, compiled to its own bytecode, in blocks that stay in the cache.

It has no erf, and a reduction only around a whole expression: a softmax is several evaluations.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from peers import Absent, Run

Params = Mapping[str, Any]
_NO_ERF = "numexpr has no erf"
_KM = 2 * 6371.0


def start(threads: int) -> str:
    """Set the number of threads."""
    import numexpr

    numexpr.set_num_threads(threads)
    return str(numexpr.__version__)


def _evaluate(text: str, out: Any = None, **names: Any) -> Any:
    """Evaluate in float32: numbers are given by name, for a literal would be a float64."""
    import numexpr

    given = {k: np.float32(v) if isinstance(v, float) else v for k, v in names.items()}
    return numexpr.evaluate(text, local_dict=given, global_dict={}, out=out, casting="same_kind")


def _one(text: str, **constants: float) -> Callable[..., Run]:
    """Return a maker for a program that is one expression of x, y, z, w."""

    def make(*arrays: Any) -> Run:
        names = dict(zip("xyzw", arrays, strict=False)) | constants
        out = np.empty_like(arrays[0])
        return Run(functools.partial(_evaluate, text, out, **names))

    return make


def _softmax(x: Any) -> Run:
    between, out = np.empty_like(x), np.empty_like(x)

    def call() -> Any:
        largest = x.max(-1, keepdims=True)
        _evaluate("exp(x - m)", between, x=x, m=largest)
        total = between.sum(-1, keepdims=True)
        return _evaluate("x / t", out, x=between, t=total)

    return Run(call, note="maximum and sum by NumPy")


def _log_softmax(x: Any) -> Run:
    between, out = np.empty_like(x), np.empty_like(x)

    def call() -> Any:
        largest = x.max(-1, keepdims=True)
        _evaluate("exp(x - m)", between, x=x, m=largest)
        total = np.log(between.sum(-1, keepdims=True)) + largest
        return _evaluate("x - t", out, x=x, t=total)

    return Run(call, note="maximum and sum by NumPy")


def _layer_norm(x: Any, gain: Any, bias: Any) -> Run:
    between, out = np.empty_like(x), np.empty_like(x)

    def call() -> Any:
        mean = x.mean(-1, keepdims=True)
        _evaluate("(x - m) * (x - m)", between, x=x, m=mean)
        scale = 1 / np.sqrt(between.mean(-1, keepdims=True) + np.float32(1e-5))
        return _evaluate("(x - m) * s * g + b", out, x=x, m=mean, s=scale, g=gain, b=bias)

    return Run(call, note="means by NumPy")


def _rms_norm(x: Any, gain: Any) -> Run:
    between, out = np.empty_like(x), np.empty_like(x)

    def call() -> Any:
        _evaluate("x * x", between, x=x)
        scale = 1 / np.sqrt(between.mean(-1, keepdims=True) + np.float32(1e-6))
        return _evaluate("x * s * g", out, x=x, s=scale, g=gain)

    return Run(call, note="mean by NumPy")


def _cross_entropy(logits: Any, labels: Any, classes: Any) -> Run:
    between = np.empty_like(logits)
    rows = np.arange(len(labels))

    def call() -> Any:
        largest = logits.max(-1, keepdims=True)
        _evaluate("exp(x - m)", between, x=logits, m=largest)
        total = np.log(between.sum(-1)) + largest[:, 0]
        return (total - logits[rows, labels]).mean()

    return Run(call, note="maximum and sum by NumPy")


def _adam(w: Any, g: Any, m: Any, v: Any, step: int) -> Run:
    outs = [np.empty_like(w) for _ in range(3)]
    scale, correction = 1e-3 / (1 - 0.9**step), 1 / (1 - 0.999**step)

    def call() -> Any:
        _evaluate("a * m + b * g", outs[1], m=m, g=g, a=0.9, b=1 - 0.9)
        _evaluate("a * v + b * g * g", outs[2], v=v, g=g, a=0.999, b=1 - 0.999)
        text = "w - s * m / (sqrt(v * c) + e)"
        _evaluate(text, outs[0], w=w, m=outs[1], v=outs[2], s=scale, c=correction, e=1e-8)
        return tuple(outs)

    return Run(call, note="three evaluations")


def _distances(a: Any, b: Any) -> Run:
    between = np.empty_like(a)

    def call() -> Any:
        _evaluate("(a - b) * (a - b)", between, a=a, b=b)
        return np.sqrt(between.sum(-1))

    return Run(call, note="sum by NumPy")


_HAVERSINE = (
    "r * arcsin(sqrt(sin((z - x) / t) * sin((z - x) / t)"
    " + cos(x) * cos(z) * sin((w - y) / t) * sin((w - y) / t)))"
)
_GELU = "h * x * (i + tanh(c * (x + k * x * x * x)))"
_PROGRAMS: dict[str, Callable[..., Run]] = {
    "gelu tanh": _one(_GELU, h=0.5, i=1.0, c=(2 / np.pi) ** 0.5, k=0.044715),
    "silu": _one("x / (i + exp(-x))", i=1.0),
    "swiglu": _one("y / (i + exp(-y)) * x", i=1.0),
    "softmax": _softmax,
    "log-softmax": _log_softmax,
    "layer norm": _layer_norm,
    "RMS norm": _rms_norm,
    "cross-entropy": _cross_entropy,
    "Adam step": _adam,
    "haversine": _one(_HAVERSINE, r=_KM, t=2.0),
    "row distances": _distances,
    "polynomial root": _one(
        "sqrt(abs(((a * x - b) * x + c) * x - d) + e)", a=0.25, b=0.5, c=1.5, d=2.0, e=1.0
    ),
}


def program(params: Params, *arrays: Any) -> Run:
    """Return one of the programs."""
    if params["program"] not in _PROGRAMS:
        raise Absent(_NO_ERF)
    return _PROGRAMS[params["program"]](*arrays)


MAKERS = {"program": program}
ABSENT = {"matmul": "numexpr is for elementwise expressions"}
