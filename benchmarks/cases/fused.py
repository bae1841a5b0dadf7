"""The fourteen programs of programs.py over 4M float32, each fused into one loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import programs
from case import Bar, Case, Group, Judge

from tinytorch.ops.spec import Array

ELEMENTS = 1 << 22
# Those whose time is memory's: few FLOPs a byte.
MEMORY_BOUND = (
    "gelu tanh",
    "gelu erf",
    "silu",
    "swiglu",
    "softmax",
    "log-softmax",
    "layer norm",
    "RMS norm",
    "cross-entropy",
    "Adam step",
    "row distances",
    "polynomial root",
)
_QUICK = ("gelu tanh", "softmax", "Adam step")


def _exact(value: Any) -> Any:
    return value.astype(np.float64) if getattr(value, "dtype", None) == np.float32 else value


def _judge(name: str) -> Any:
    def of_inputs(inputs: tuple[Any, ...]) -> Judge:
        """Judge by the plain function in float64: right to half the digits of float32.

        Peers sum in their own orders, and some have approximations of their own.
        """
        made = programs.PROGRAMS[name].function(*map(_exact, inputs))
        wanted = made if isinstance(made, tuple) else (made,)
        half = float(np.finfo(np.float32).eps) ** 0.5

        def judge(outputs: Sequence[Array]) -> str:
            if len(outputs) != len(wanted):
                return f"{len(outputs)} outputs where {len(wanted)} are due"
            for i, (seen, want) in enumerate(zip(outputs, wanted, strict=True)):
                if seen.shape != np.shape(want) or seen.dtype != np.float32:
                    return f"output {i} is {seen.dtype}{list(seen.shape)}"
                if not np.allclose(seen, want, half, half):
                    worst = float(np.max(np.abs(seen - want)))
                    return f"output {i} differs by up to {worst:.3g}"
            return ""

        return judge

    return of_inputs


def _case(name: str) -> Case:
    return Case(
        name=name,
        kind="program",
        inputs=lambda: programs.PROGRAMS[name].inputs(ELEMENTS, np.float32, 0),
        judge=_judge(name),
        params={"program": name},
        quick=name in _QUICK,
    )


def groups() -> tuple[Group, ...]:
    """Return the programs."""
    peers = (
        "tinytorch",
        "NumPy",
        "PyTorch",
        "torch.compile",
        "JAX",
        "ONNX Runtime",
        "numexpr",
        "Numba",
        "copy",
        "copy past caches",
        "in cache",
    )
    floor = (("copy", "copy past caches"), ("in cache",))
    bars = (
        Bar("the best peer, on each", 1.0),
        Bar("the best peer, geometric mean", 2.0, each=False),
        Bar(
            "a copy of the same bytes, where memory bounds it",
            1 / 1.35,
            ("copy",),
            True,
            MEMORY_BOUND,
        ),
    )
    cases = tuple(map(_case, programs.PROGRAMS))
    title = "Fused programs, 4M float32"
    return (Group("fused", title, cases, peers, bars, 10, "GB/s", floor),)
