"""The machine code of every compiled loop: packed arithmetic at the full width of this machine."""

from __future__ import annotations

import importlib
import platform
from typing import Any

import numpy as np
import pytest

from tinytorch.native import level
from tinytorch.native.codecache import assembly, jit

FLAT = np.ones(64, np.float32)
MATRIX = np.ones((64, 64), np.float32)
CODES = np.ones((64, 64), np.int8)
SUMS = np.ones((64, 64), np.int32)
ZERO = np.float32(0)
ON_ARM = platform.machine().lower() in ("arm64", "aarch64")

# The inner loop of each rung: module, function, arguments it is compiled for.
LOOPS: dict[str, tuple[str, str, tuple[Any, ...]]] = {
    "gelu-tanh": ("gelu.fused", "tanh_loop", (FLAT, FLAT)),
    "gelu-erf": ("gelu.fused", "erf_loop", (FLAT, FLAT)),
    "add": ("add.compiled", "loop", (FLAT, FLAT, FLAT)),
    "multiply": ("multiply.compiled", "loop", (FLAT, FLAT, FLAT)),
    "dot": ("dot.compiled", "loop", (FLAT, FLAT, ZERO)),
    "euclidean_distance": ("euclidean_distance.compiled", "loop", (FLAT, FLAT, ZERO)),
    "matmul": ("matmul.compiled", "product", (MATRIX, MATRIX, MATRIX)),
    "matmul-tiled": ("matmul.tiled", "rows_of_product", (MATRIX, MATRIX, MATRIX, 0, 64)),
}


def as_double(value: Any) -> Any:
    return value.astype(np.float64) if hasattr(value, "astype") else value


def register() -> str:
    """Return the name of this machine's widest vector registers."""
    return {"avx512": "zmm", "avx2": "ymm"}.get(level.isa(), "neon" if ON_ARM else "xmm")


def widest_use(compiled: Any, arguments: tuple[Any, ...]) -> int:
    """Return how many packed instructions use the widest registers this machine has."""
    return level.register_uses(assembly(compiled, *arguments))[register()]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", LOOPS)
def test_loop_is_vectorised_at_full_width(name: str, dtype: str) -> None:
    module, function, arguments = LOOPS[name]
    compiled = getattr(importlib.import_module(f"tinytorch.kernels.{module}"), function)
    if dtype == "float64":
        arguments = tuple(map(as_double, arguments))
    assert widest_use(compiled, arguments) >= 2


# The rungs that are fused expressions: module, the expression's name, arguments.
ROW = np.ones(64, np.float32)
CUBE = np.ones((2, 64, 64), np.float32)
EXPRESSIONS: dict[str, tuple[str, str, tuple[Any, ...]]] = {
    "squared_difference": ("squared_difference.fused", "expression", (FLAT, FLAT)),
    "softmax": ("softmax.fused", "softmax", (MATRIX,)),
    "log_softmax": ("log_softmax.fused", "log_softmax", (MATRIX,)),
    "layer_norm": ("layer_norm.fused", "layer_norm", (MATRIX, ROW, ROW, 1e-5)),
    "rms_norm": ("rms_norm.fused", "rms_norm", (MATRIX, ROW, 1e-6)),
    "silu": ("silu.fused", "silu", (FLAT,)),
    "sigmoid": ("sigmoid.fused", "sigmoid", (FLAT,)),
    "tanh": ("tanh.fused", "tanh", (FLAT,)),
    "relu_gradient": ("activation_gradient.fused", "relu_gradient", (FLAT, FLAT)),
    "binary_cross_entropy": ("binary_cross_entropy.fused", "binary_cross_entropy", (FLAT, FLAT)),
    "channel_moments": ("channel_moments.fused", "row_moments", (CUBE,)),
    "batch_norm": ("batch_norm.fused", "normalised", (CUBE, ROW, ROW, ROW)),
    "gelu_gradient": ("gelu_gradient.fused", "tanh_form", (FLAT, FLAT)),
    "adam": ("adam.fused", "adam", (FLAT,) * 4 + (0.5,) * 9),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expression_is_vectorised_at_full_width(name: str) -> None:
    module, function, arguments = EXPRESSIONS[name]
    fused = getattr(importlib.import_module(f"tinytorch.kernels.{module}"), function)
    fused(*arguments)
    codes = [code for program in fused._programs.values() for code in program.compiled.values()]
    # What earlier tests ran on many elements alone has no loop of its own for few.
    serial = [code.serial for code in codes if code.serial.signatures]
    assert serial
    for loop in serial:
        given = [an_example(kind) for kind in loop.signatures[0]]
        assert widest_use(loop, tuple(given)) >= 4


def an_example(kind: Any) -> Any:
    """Return a value of one of Numba's types: an array, an integer or a float."""
    if hasattr(kind, "ndim"):
        return np.ones((8,) * kind.ndim, str(kind.dtype))
    return np.dtype(str(kind)).type(1)


# Selections and integer products, which are not floating-point arithmetic.
OTHERS: dict[str, tuple[str, str, tuple[Any, ...], tuple[str, ...]]] = {
    "relu": ("relu.fused", "loop", (FLAT, FLAT), ("cmp", "max")),
    "int8_matmul": (
        "int8_matmul.compiled",
        "rows_of_product",
        (CODES, CODES, SUMS, 0, 64),
        ("vpmull", "vpmadd"),
    ),
}


@pytest.mark.skipif(ON_ARM, reason="the mnemonics below are x86-64's")
@pytest.mark.parametrize("name", OTHERS)
def test_other_loops_are_vectorised_at_full_width(name: str) -> None:
    module, function, arguments, mnemonics = OTHERS[name]
    compiled = getattr(importlib.import_module(f"tinytorch.kernels.{module}"), function)
    lines = assembly(compiled, *arguments).splitlines()
    assert any(register() in line and any(m in line for m in mnemonics) for line in lines)


def test_a_loop_that_is_not_vectorised_is_noticed() -> None:
    @jit
    def serial(x, out):  # type: ignore[no-untyped-def]
        last = x[0]
        for i in range(x.size):
            last = last / (x[i] + last)
            out[i] = last

    assert widest_use(serial, (FLAT, FLAT)) == 0
