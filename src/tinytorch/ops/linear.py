"""linear: Y = activation(X @ W + b), the layer that transformers spend their time in.

`activation` is "none", "relu", "gelu" (its tanh form) or "gelu_erf" (its exact form). W is (K, N):
one column an output.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops import gelu
from tinytorch.ops.spec import Array, Op, Shape, Shapes, Size, Tolerance, wide

# The activations that are a form of gelu, and the op's name for the form.
GELU_FORMS = {"gelu": "tanh", "gelu_erf": "none"}
ACTIVATIONS = ("none", "relu", *GELU_FORMS)
# Operations an element beside the product: the bias, and what the activation's own op counts.
_EXTRA_FLOPS = {"none": 1, "relu": 2, "gelu": 10, "gelu_erf": 10}


def _output_shape(shapes: Shapes, activation: str = "none") -> Shape:
    x, w, b = shapes
    if activation not in ACTIVATIONS:
        raise InvalidValue(
            f"linear's activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}"
        )
    if not x or len(w) != 2 or len(b) != 1:
        raise ShapeError(f"linear takes x (..., K), w (K, N) and b (N,), got {x}, {w} and {b}")
    if x[-1] != w[0] or b[0] != w[1]:
        raise ShapeError(
            f"linear shape mismatch: x {x}, w {w}, b {b}: x's last axis must be w's first, and b "
            "as long as w's second; a weight stored as (N, K) goes in as w.T"
        )
    return (*x[:-1], w[1])


def _flops(shapes: Shapes, activation: str = "none") -> int:
    output = math.prod(_output_shape(shapes, activation))
    return output * (2 * shapes[0][-1] + _EXTRA_FLOPS[activation])


def _activated(z: Array, activation: str) -> Array:
    if activation == "relu":
        return np.maximum(z, 0)
    if activation in GELU_FORMS:
        return np.asarray(gelu.OP.reference(z, approximate=GELU_FORMS[activation]))
    return z


def _reference(x: Array, w: Array, b: Array, activation: str = "none") -> Array:
    return _activated(np.asarray(np.matmul(x, w) + b), activation)


def _bound(reference: Array, x: Array, w: Array, b: Array, activation: str = "none") -> Array:
    z = np.abs(np.matmul(x, w) + b)
    summed = 2.0 * math.sqrt(max(1, w.shape[0])) * np.matmul(np.abs(x), np.abs(w))
    before = np.asarray(summed + z + np.abs(b))
    # gelu's slope is at most 1.13, and its own error 4 |z|; relu's slope is at most 1.
    return 1.13 * before + 4.0 * z if activation in GELU_FORMS else before


def _draw(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
    # An eighth of `wide`, so that sums fall on both sides of the activations' bends.
    return np.asarray(wide(rng, shape, dtype) * dtype.type(0.125))


def _layer(name: str, batch: Shape, K: int, N: int) -> Size:
    return Size(name, ((*batch, K), (K, N), (N,)))


OP = Op(
    name="linear",
    signature="(..., K), (K, N), (N,) -> (..., N)",
    reference=_reference,
    output_shape=_output_shape,
    flops=_flops,
    tolerance=Tolerance(
        "the product as matmul's (2 sqrt(K) eps |X||W|), one rounding for the bias, then the "
        "activation's slope (1.13 at most for gelu) times that, and gelu's own 4 eps |z|",
        _bound,
    ),
    sizes=(
        _layer("one", (1,), 1, 1),
        _layer("vector", (), 7, 5),
        _layer("empty-rows", (0,), 4, 5),
        _layer("empty-k", (3,), 0, 5),
        _layer("square", (32,), 32, 32),
        _layer("tall", (97,), 5, 3),
        _layer("prime", (37,), 41, 43),
        _layer("odd", (33,), 17, 65),
        _layer("partial-tile", (66,), 70, 67),
        _layer("deep", (9,), 700, 50),
        _layer("tokens", (2, 5), 24, 40),
    ),
    ladder=tuple(
        _layer(f"{tokens}x{K}x{4 * K}", (tokens,), K, 4 * K)
        for K in (384, 768)
        for tokens in (128, 512, 1024, 4096)
    ),
    variants=(
        {"activation": "gelu"},
        {"activation": "relu"},
        {"activation": "none"},
        {"activation": "gelu_erf"},
    ),
    draw=_draw,
)
