"""Sparse weights times dense activations: what is not zero, and where that beats a dense layer.

Peers are given W.T (outputs, inputs) and x.T (inputs, tokens), as they like them; ours takes rows
of activations and gives rows.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from case import Bar, Case, Group, Judge

from tinytorch.ops.spec import Array
from tinytorch.perf.compression.sweep import FORMATS, Layer, pruned

_INPUTS, _OUTPUTS = 768, 3072
_SHARES = {"CSR": (0.7, 0.85, 0.95), "4x16": (0.5, 0.6, 0.9)}
# Shares of zeros from which a format is to beat a dense layer.
_PAYS_FROM = {"CSR": 0.85, "4x16": 0.6}


def _inputs(tokens: int, zeros: float, block: tuple[int, int]) -> tuple[Array, ...]:
    weight = pruned(Layer(tokens, _INPUTS, _OUTPUTS), zeros, block)
    x = np.random.default_rng(tokens).standard_normal((_INPUTS, tokens)).astype(np.float32)
    return np.ascontiguousarray(weight.T), x


def _judge(inputs: tuple[Any, ...]) -> Judge:
    w, x = (array.astype(np.float64) for array in inputs)
    wanted = w @ x
    terms = (w != 0).sum(axis=1, keepdims=True)
    bound = 2 * np.sqrt(terms + 1) * np.finfo(np.float32).eps * (np.abs(w) @ np.abs(x))

    def judge(outputs: Sequence[Array]) -> str:
        (seen,) = outputs
        if seen.dtype != np.float32 or sorted(seen.shape) != sorted(wanted.shape):
            return f"the output is {seen.dtype}{list(seen.shape)}"
        turned = seen if seen.shape == wanted.shape else seen.T
        wrong = int((np.abs(turned - wanted) > bound).sum())
        return f"{wrong} of {seen.size} values out of bounds" if wrong else ""

    return judge


def _case(tokens: int, zeros: float, kind: str) -> Case:
    block = FORMATS[kind]
    return Case(
        name=f"{kind} {tokens}x{_INPUTS}x{_OUTPUTS}, {zeros:.0%} zeros",
        kind="sparse",
        inputs=functools.partial(_inputs, tokens, zeros, block),
        judge=_judge,
        params={} if kind == "CSR" else {"block": block},
        flops=round(2 * tokens * _INPUTS * _OUTPUTS * (1 - zeros)),
        quick=(tokens, zeros) in ((512, 0.85), (512, 0.6)),
    )


def groups() -> tuple[Group, ...]:
    """Return the layers, by kind and share of zeros."""
    planned = [
        (tokens, zeros, kind)
        for kind, shares in _SHARES.items()
        for tokens in (128, 512)
        for zeros in shares
    ]
    cases = tuple(_case(*plan) for plan in planned)
    paying = tuple(
        case.name
        for case, (_, zeros, kind) in zip(cases, planned, strict=True)
        if zeros >= _PAYS_FROM[kind]
    )
    bars = (
        Bar("the faster of SciPy and PyTorch, on each", 1.0, ("SciPy", "PyTorch")),
        Bar(
            "our dense layer, from 85 % zeros as CSR, from 60 % in blocks",
            1.0,
            ("our dense",),
            only=paying,
        ),
    )
    peers = ("tinytorch", "SciPy", "PyTorch", "NumPy", "our dense")
    return (Group("sparse", "Sparse weights", cases, peers, bars, 55),)
