"""Linear layers with GELU, at the shapes of transformers."""

from __future__ import annotations

from case import Bar, Group, op_case


def groups() -> tuple[Group, ...]:
    """Return `gelu(x @ w + b)` for 128 to 4096 tokens and two widths."""
    shapes = [(t, k) for k in (384, 768) for t in (128, 512, 1024, 4096)]
    cases = tuple(
        op_case(
            f"linear+gelu {t}x{k}x{4 * k}",
            "linear",
            ((t, k), (k, 4 * k), (4 * k,)),
            quick=(t, k) in ((128, 384), (1024, 384)),
            activation="gelu",
        )
        for t, k in shapes
    )
    bars = (
        Bar("PyTorch, on each", 1.05, ("PyTorch",)),
        Bar("PyTorch, geometric mean", 1.2, ("PyTorch",), each=False),
    )
    peers = ("tinytorch", "NumPy", "PyTorch", "torch.compile", "JAX", "ONNX Runtime")
    return (Group("linear", "Linear and GELU", cases, peers, bars, 30),)
