"""Attention with twelve heads, as in small transformers: causal and not."""

from __future__ import annotations

from case import Bar, Group, op_case

from tinytorch import ops

_HEADS = 12


def groups() -> tuple[Group, ...]:
    """Return the cases, if there is an op of attention."""
    if "attention" not in ops.names():
        return ()
    cases = tuple(
        op_case(
            f"attention d{d} T{T}{' causal' if causal else ''}",
            "attention",
            ((1, _HEADS, T, d),) * 3,
            quick=(T, d) == (512, 64),
            causal=causal,
        )
        for d in (32, 64)
        for T in (128, 256, 512, 1024, 2048)
        for causal in (False, True)
    )
    bars = (
        Bar("PyTorch, on each", 1.0, ("PyTorch",)),
        Bar("PyTorch, geometric mean", 1.1, ("PyTorch",), each=False),
    )
    peers = ("tinytorch", "NumPy", "PyTorch", "JAX", "ONNX Runtime")
    return (Group("attention", "Attention, 12 heads", cases, peers, bars, 40),)
