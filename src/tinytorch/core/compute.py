"""What rules compute with: the heavy operations, each on the current backend.

One small function an operation. What is an op is dispatched; what is none yet is NumPy here, and
nowhere else in `core`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinytorch.backends import get_backend
from tinytorch.ops.elementary import FUNCTIONS
from tinytorch.ops.spec import Array, Shape


def add(a: Array, b: Array) -> Array:
    """Return a + b, broadcast."""
    return get_backend().dispatch("add", a, b)


def multiply(a: Array, b: Array) -> Array:
    """Return a * b, broadcast."""
    return get_backend().dispatch("multiply", a, b)


def matmul(a: Array, b: Array) -> Array:
    """Return the product over the last two axes, batch axes broadcast."""
    return get_backend().dispatch("matmul", a, b)


def linear(x: Array, w: Array, b: Array, activation: str = "none") -> Array:
    """Return activation(x @ w + b)."""
    if activation == "none":
        return get_backend().dispatch("linear", x, w, b)
    return get_backend().dispatch("linear", x, w, b, activation=activation)


def relu(x: Array) -> Array:
    """Return max(x, 0)."""
    return get_backend().dispatch("relu", x)


def gelu(x: Array, approximate: str = "tanh") -> Array:
    """Return GELU, in its tanh form or exact."""
    return get_backend().dispatch("gelu", x, approximate=approximate)


def softmax(x: Array) -> Array:
    """Return softmax over the last axis."""
    return get_backend().dispatch("softmax", x)


def unbroadcast(grad: Array, shape: Shape) -> Array:
    """Return a gradient summed over the axes that broadcasting added or stretched."""
    if grad.shape == shape:
        return grad
    lead = grad.ndim - len(shape)
    stretched = (i + lead for i, n in enumerate(shape) if n == 1 and grad.shape[i + lead] != 1)
    summed: Array = grad.sum(axis=(*range(lead), *stretched), keepdims=True)
    return summed.reshape(shape)


def column_sums(grad: Array) -> Array:
    """Return the sum over all axes but the last: the gradient of a bias."""
    rows = grad if grad.ndim == 2 else _as_rows(grad)
    return np.add.reduce(rows)  # type: ignore[no-any-return]


def linear_gradients(x: Array, w: Array, grad: Array, needed: tuple[bool, bool, bool]) -> Any:
    """Return the gradients of x @ w + b for x, w and b: two products, and the sum over all rows."""
    for_x, for_w = matmul_gradients(x, w, grad, needed[:2])
    return for_x, for_w, column_sums(grad) if needed[2] else None


def gelu_gradient(x: Array, grad: Array, approximate: str) -> Array:
    """Return grad * GELU'(x)."""
    return get_backend().dispatch("gelu_gradient", x, grad, approximate=approximate)


def silu(x: Array) -> Array:
    """Return x / (1 + exp(-x))."""
    return get_backend().dispatch("silu", x)


def silu_gradient(x: Array, grad: Array) -> Array:
    """Return grad * silu'(x)."""
    return get_backend().dispatch("silu_gradient", x, grad)


def softmax_gradient(y: Array, grad: Array) -> Array:
    """Return the gradient of softmax's input over the last axis, from its output."""
    return get_backend().dispatch("softmax_gradient", y, grad)


def log_softmax(x: Array) -> Array:
    """Return log(softmax(x)) over the last axis; stable for any finite x."""
    return get_backend().dispatch("log_softmax", x)


def log_softmax_gradient(y: Array, grad: Array) -> Array:
    """Return the gradient of log_softmax's input over the last axis, from its output."""
    return get_backend().dispatch("log_softmax_gradient", y, grad)


def _floating(x: Array) -> Array:
    """Return what a function of real numbers takes: integers become float64, as in NumPy."""
    return x if x.dtype.kind == "f" else x.astype(np.float64)


# Elements that NumPy is done with before a backend has chosen who computes them.
_FEW = 1 << 11


def elementary(kind: str, x: Array) -> Array:
    """Return "exp", "log", "sin" or "cos" of x."""
    if x.size < _FEW:
        return FUNCTIONS[kind](x)
    return get_backend().dispatch("elementary", _floating(x), kind=kind)


def where(condition: Array, a: Array, b: Array) -> Array:
    """Return a where a condition, of booleans, holds, else b; all three broadcast."""
    if condition.size < _FEW:
        return np.where(condition, a, b)
    return get_backend().dispatch("where", a, b, condition.view(np.int8))


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)), to full precision on both sides."""
    return get_backend().dispatch("sigmoid", _floating(x))


def tanh(x: Array) -> Array:
    """Return the hyperbolic tangent."""
    return get_backend().dispatch("tanh", _floating(x))


def activation_gradient(activation: str, y: Array, grad: Array) -> Array:
    """Return grad times the slope of "sigmoid", "tanh" or "relu" where its output is y."""
    return get_backend().dispatch("activation_gradient", y, grad, activation=activation)


def squared_error(x: Array, t: Array) -> Array:
    """Return the sum of (x - t)^2."""
    return get_backend().dispatch("squared_error", _floating(x), _floating(t))


def squared_error_gradient(x: Array, t: Array, scale: float) -> Array:
    """Return 2 (x - t) scale."""
    backend = get_backend()
    return backend.dispatch("squared_error_gradient", _floating(x), _floating(t), scale=scale)


def binary_cross_entropy(p: Array, t: Array) -> Array:
    """Return the sum of -(t log p + (1 - t) log(1 - p)), its logarithms kept above -100."""
    return get_backend().dispatch("binary_cross_entropy", _floating(p), _floating(t))


def binary_cross_entropy_gradient(p: Array, t: Array, scale: float) -> Array:
    """Return (p - t) / (p (1 - p)) scale, the denominator kept above 1e-12."""
    given = _floating(p), _floating(t)
    return get_backend().dispatch("binary_cross_entropy_gradient", *given, scale=scale)


def cross_entropy(x: Array, labels: Array) -> Array:
    """Return the mean over rows of log(sum(exp(x))) - x[label]. x (N, C), labels (N,)."""
    return get_backend().dispatch("cross_entropy", x, labels)


def cross_entropy_gradient(x: Array, labels: Array, scale: float) -> Array:
    """Return (softmax(x) - onehot(labels)) * scale / N."""
    return get_backend().dispatch("cross_entropy_gradient", x, labels, scale=scale)


def layer_norm(x: Array, gain: Array, bias: Array, eps: float) -> Array:
    """Return each row less its mean, over its standard deviation, times gain, plus bias."""
    return get_backend().dispatch("layer_norm", x, gain, bias, eps=float(eps))


def layer_norm_gradient(x: Array, gain: Array, grad: Array, eps: float) -> Any:
    """Return layer_norm's gradients for x, gain and bias."""
    return get_backend().dispatch("layer_norm_gradient", x, gain, grad, eps=float(eps))


def add_rows(table: Array, numbers: Array, rows: Array) -> None:
    """Add each row, in their order, to the table's row of its number, in place."""
    same = rows.astype(table.dtype, copy=False)
    get_backend().dispatch("add_rows", table, same, numbers, out=table)


# Elements of a parameter whose step NumPy's few calls take before a backend would have.
_SMALL_STEP = 1 << 18


def sgd(p: Array, grad: Array, velocity: Array | None, settings: dict[str, float]) -> None:
    """Take a step of gradient descent: p, and a velocity where there is one, change in place.

    `settings` are "lr" and "weight_decay", and with a velocity "momentum".
    """
    if p.size > _SMALL_STEP and p.dtype == grad.dtype and p.dtype.char in "fd":
        backend = get_backend()
        if velocity is None:
            backend.dispatch("sgd", p, grad, out=p, **settings)
        else:
            backend.dispatch("momentum", p, grad, velocity, out=(p, velocity), **settings)
        return
    if settings["weight_decay"]:
        grad = grad + p * p.dtype.type(settings["weight_decay"])
    if velocity is not None:
        velocity *= p.dtype.type(settings["momentum"])
        velocity += grad
        grad = velocity
    p -= grad * p.dtype.type(settings["lr"])


class AdamStep(NamedTuple):
    """The settings of a step of Adam; `decoupled` decays the weights and not the gradient."""

    lr: float
    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    decoupled: bool
    number: int


def adam(p: Array, grad: Array, m: Array, v: Array, step: AdamStep) -> None:
    """Take a step of Adam or AdamW: p, m and v change in place."""
    get_backend().dispatch(
        "adam",
        p,
        grad,
        m,
        v,
        out=(p, m, v),
        lr=step.lr,
        beta1=step.beta1,
        beta2=step.beta2,
        eps=step.eps,
        step=float(step.number),
        weight_decay=step.weight_decay,
        decoupled=step.decoupled,
    )


def attention(q: Array, k: Array, v: Array, causal: bool = True, keep: Array | None = None) -> Any:
    """Return attention, and what its gradient needs besides: log(sum(exp(scores))).

    `keep`, booleans, says what each query sees, and broadcasts; one that sees nothing gives 0.
    """
    out = (_like(q), np.empty(q.shape[:-1], q.dtype)) if q.shape == v.shape else None
    backend = get_backend()
    if keep is None:
        return backend.dispatch("attention_and_logs", q, k, v, out=out, causal=causal)
    mask = keep.view(np.int8)
    return backend.dispatch("masked_attention_and_logs", q, k, v, mask, out=out, causal=causal)


def attention_gradient(
    q: Array,
    k: Array,
    v: Array,
    kept: tuple[Array, Array],
    grad: Array,
    out: Any = None,
    causal: bool = True,
    keep: Array | None = None,
) -> Any:
    """Return attention's gradients for q, k and v, from its output and logarithms."""
    out = out or (_like(q), _like(k), _like(v))
    arrays = q, k, v, *kept, grad
    backend = get_backend()
    if keep is None:
        return backend.dispatch("attention_gradient", *arrays, out=out, causal=causal)
    mask = keep.view(np.int8)
    return backend.dispatch("masked_attention_gradient", *arrays, mask, out=out, causal=causal)


def _like(x: Array) -> Array:
    """Return memory for an array in the order of another's axes in memory.

    Heads are views of (B, T, C); of results in that order, (B, T, C) is a view again and no copy.
    """
    return np.empty_like(x, order="K", subok=False)


def _as_rows(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


def matmul_gradients(a: Array, b: Array, grad: Array, needed: tuple[bool, bool]) -> Any:
    """Return the gradients of a @ b: grad @ b^T and a^T @ grad, summed where a side was broadcast.

    Vectors are taken as one row, one column.
    """
    if a.ndim == 2 == b.ndim:  # as below, with nothing to reshape
        for_a = matmul(grad, b.T) if needed[0] else None
        return for_a, matmul(a.T, grad) if needed[1] else None
    wide_a = a[None, :] if a.ndim == 1 else a
    wide_b = b[:, None] if b.ndim == 1 else b
    if b.ndim == 1:
        grad = grad[..., None]
    if a.ndim == 1:
        grad = grad[..., None, :]
    for_a = for_b = None
    if wide_b.ndim == 2:  # one product over all rows, instead of a batch of low ones
        rows = _as_rows(grad)
        if needed[0]:
            for_a = matmul(rows, wide_b.T).reshape(a.shape)
        if needed[1]:
            for_b = matmul(_as_rows(wide_a).T, rows).reshape(b.shape)
        return for_a, for_b
    if needed[0]:
        for_a = unbroadcast(matmul(grad, wide_b.swapaxes(-1, -2)), wide_a.shape).reshape(a.shape)
    if needed[1]:
        for_b = unbroadcast(matmul(wide_a.swapaxes(-1, -2), grad), wide_b.shape).reshape(b.shape)
    return for_a, for_b
