"""INT8 layers: float32 in and out, activations quantised on the way, weights packed beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from case import Bar, Case, Group, Judge

from tinytorch import ops
from tinytorch.ops.spec import Array

# Rounding to 8 bits costs some 1.5 % of normal operands' product, one bit less on one side 2.5 %.
_WORST = 0.05


def _inputs(tokens: int, K: int, N: int) -> tuple[Array, ...]:
    rng = np.random.default_rng([tokens, K, N])
    x, w, b = (rng.standard_normal(shape) for shape in ((tokens, K), (K, N), (N,)))
    return tuple(a.astype(np.float32) for a in (x, w / np.sqrt(K), b / 10))


def _judge(activation: str) -> Any:
    def of_inputs(inputs: tuple[Any, ...]) -> Judge:
        """Judge by the layer in float64: each peer quantises in its own way."""
        exact = [a.astype(np.float64) for a in inputs]
        wanted = ops.get("linear").reference(*exact, activation=activation)
        size = float(np.sqrt(np.mean(wanted**2)))

        def judge(outputs: Sequence[Array]) -> str:
            (seen,) = outputs
            if seen.shape != wanted.shape or seen.dtype != np.float32:
                return f"the output is {seen.dtype}{list(seen.shape)}"
            error = float(np.sqrt(np.mean((seen - wanted) ** 2))) / size
            return f"errs by {error:.1%} of the output" if not error <= _WORST else ""

        return judge

    return of_inputs


def _case(tokens: int, K: int, activation: str) -> Case:
    N = 4 * K
    end = "+gelu" if activation == "gelu" else ""
    return Case(
        name=f"int8 linear{end} {tokens}x{K}x{N}",
        kind="quantized_linear",
        inputs=lambda: _inputs(tokens, K, N),
        judge=_judge(activation),
        params={"activation": activation},
        flops=2 * tokens * K * N,
        quick=(tokens, K) == (1024, 384),
    )


def groups() -> tuple[Group, ...]:
    """Return the layers without and with GELU, if there is an op of them."""
    if "quantized_linear" not in ops.names():
        return ()
    shapes = [(t, k) for k in (384, 768) for t in (128, 512, 1024, 4096)]
    plain = tuple(_case(t, k, "none") for t, k in shapes)
    gelu = tuple(_case(t, k, "gelu") for t, k in shapes)
    rivals = ("PyTorch", "ONNX Runtime")
    names = tuple(case.name for case in gelu)
    long = tuple(c.name for c, (t, _) in zip(plain, shapes, strict=True) if t >= 1024)
    bars = (
        Bar("our float32, on each", 2.5, ("our float32",)),
        Bar("the faster of ONNX Runtime and PyTorch, with GELU", 1.1, rivals, only=names),
        Bar("of the INT8 peak, at 1024 tokens and more", 0.8, ("INT8 peak",), only=long),
    )
    peers = ("tinytorch", "PyTorch", "ONNX Runtime", "our float32", "INT8 peak")
    title = "INT8 layers, quantised as they go"
    floor = (("INT8 peak",),)
    return (Group("int8", title, (*plain, *gelu), peers, bars, 50, floor=floor),)
