"""The fourteen programs in PyTorch: formulas to compile, and eager with `out=` where it can."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from peers import Run

_EARTH_RADIUS_KM = 6371.0
Tensor = Any


def _adam(w: Tensor, g: Tensor, m: Tensor, v: Tensor, step: int) -> tuple[Tensor, ...]:
    m = 0.9 * m + (1 - 0.9) * g
    v = 0.999 * v + (1 - 0.999) * g * g
    root = torch.sqrt(v / (1 - 0.999**step)) + 1e-8
    return w - 1e-3 / (1 - 0.9**step) * m / root, m, v


def _black_scholes(spot: Tensor, strike: Tensor, years: Tensor) -> tuple[Tensor, Tensor]:
    rate, volatility = 0.02, 0.3
    spread = volatility * torch.sqrt(years)
    d1 = (torch.log(spot / strike) + (rate + volatility**2 / 2) * years) / spread
    d2 = d1 - spread
    discounted = strike * torch.exp(-rate * years)
    below1 = 0.5 + 0.5 * torch.erf(d1 * math.sqrt(0.5))
    below2 = 0.5 + 0.5 * torch.erf(d2 * math.sqrt(0.5))
    call = spot * below1 - discounted * below2
    return call, call - spot + discounted


def _haversine(lat1: Tensor, lon1: Tensor, lat2: Tensor, lon2: Tensor) -> Tensor:
    a = torch.sin((lat2 - lat1) / 2) ** 2
    a = a + torch.cos(lat1) * torch.cos(lat2) * torch.sin((lon2 - lon1) / 2) ** 2
    return 2 * _EARTH_RADIUS_KM * torch.asin(torch.sqrt(torch.clamp(a, max=1)))


def _layer_norm(x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    return functional.layer_norm(x, (x.shape[-1],), gain, bias, 1e-5)


def _cross_entropy(logits: Tensor, labels: Tensor, classes: Tensor) -> Tensor:
    return functional.cross_entropy(logits, labels)


def _polynomial(x: Tensor) -> Tensor:
    return torch.sqrt(torch.abs(((0.25 * x - 0.5) * x + 1.5) * x - 2.0) + 1.0)


FORMULAS: dict[str, Callable[..., Any]] = {
    "gelu tanh": functools.partial(functional.gelu, approximate="tanh"),
    "gelu erf": lambda x: functional.gelu(x),
    "silu": lambda x: functional.silu(x),
    "swiglu": lambda x, gate: functional.silu(gate) * x,
    "softmax": lambda x: torch.softmax(x, -1),
    "log-softmax": lambda x: torch.log_softmax(x, -1),
    "layer norm": _layer_norm,
    "RMS norm": lambda x, gain: functional.rms_norm(x, (x.shape[-1],), gain, 1e-6),
    "cross-entropy": lambda x, labels, classes: _cross_entropy(x, labels.long(), classes),
    "Adam step": _adam,
    "Black-Scholes": _black_scholes,
    "haversine": _haversine,
    "row distances": lambda a, b: torch.sqrt(((a - b) ** 2).sum(-1)),
    "polynomial root": _polynomial,
}


def _eager_adam(w: Tensor, g: Tensor, m: Tensor, v: Tensor, step: int) -> Run:
    """Return the step of torch.optim.Adam(fused=True), which updates in place."""
    state = [t.clone() for t in (w, m, v)]
    steps = [torch.tensor(float(step))]

    def call() -> tuple[Tensor, ...]:
        torch._fused_adam_(
            [state[0]],
            [g],
            [state[1]],
            [state[2]],
            [],
            steps,
            lr=1e-3,
            beta1=0.9,
            beta2=0.999,
            weight_decay=0.0,
            eps=1e-8,
            amsgrad=False,
            maximize=False,
        )
        return tuple(state)

    return Run(call, note="updates in place")


def _eager_swiglu(x: Tensor, gate: Tensor) -> Run:
    between, out = torch.empty_like(x), torch.empty_like(x)

    def call() -> Tensor:
        torch.ops.aten.silu.out(gate, out=between)
        return torch.mul(between, x, out=out)

    return Run(call)


def _eager_layer_norm(x: Tensor, gain: Tensor, bias: Tensor) -> Run:
    out = torch.empty_like(x)
    mean, scale = torch.empty(x.shape[0], 1), torch.empty(x.shape[0], 1)
    norm = torch.ops.aten.native_layer_norm.out
    shape = [x.shape[-1]]

    def call() -> Tensor:
        return norm(x, shape, gain, bias, 1e-5, out0=out, out1=mean, out2=scale)[0]

    return Run(call)


def _eager_cross_entropy(logits: Tensor, labels: Tensor, classes: Tensor) -> Run:
    indices = labels.long()
    return Run(lambda: functional.cross_entropy(logits, indices), False, "labels as int64")


def _eager_distances(a: Tensor, b: Tensor) -> Run:
    distance = functools.partial(functional.pairwise_distance, a, b, eps=0.0)
    return Run(distance, False, "pairwise_distance")


def _eager_polynomial(x: Tensor) -> Run:
    out = torch.empty_like(x)

    def call() -> Tensor:
        torch.mul(x, 0.25, out=out)
        out.sub_(0.5).mul_(x).add_(1.5).mul_(x).sub_(2.0).abs_().add_(1.0)
        return out.sqrt_()

    return Run(call)


def _into(function: Callable[..., Any]) -> Callable[..., Run]:
    def make(x: Tensor) -> Run:
        return Run(functools.partial(function, x, out=torch.empty_like(x)))

    return make


_EAGER: dict[str, Callable[..., Run]] = {
    "gelu tanh": _into(functools.partial(torch.ops.aten.gelu.out, approximate="tanh")),
    "gelu erf": _into(torch.ops.aten.gelu.out),
    "silu": _into(torch.ops.aten.silu.out),
    "swiglu": _eager_swiglu,
    "softmax": _into(lambda x, out: torch.softmax(x, -1, out=out)),
    "log-softmax": _into(lambda x, out: torch.log_softmax(x, -1, out=out)),
    "layer norm": _eager_layer_norm,
    "cross-entropy": _eager_cross_entropy,
    "Adam step": _eager_adam,
    "row distances": _eager_distances,
    "polynomial root": _eager_polynomial,
}


def eager(name: str, arguments: list[Any]) -> Run:
    """Return a program in eager mode."""
    if name in _EAGER:
        return _EAGER[name](*arguments)
    return Run(functools.partial(FORMULAS[name], *arguments), preallocated=False)
