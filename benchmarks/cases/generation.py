"""Generating text: a GPT of 4 layers, 256 wide, one token after the other, with a cache."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from case import Bar, Case, Group, Judge
from decoder import Sizes, greedy

from tinytorch.ops.spec import Array

_PROMPT = 4


def _inputs(batch: int) -> tuple[Array, ...]:
    prompt = np.random.default_rng(batch).integers(0, Sizes().vocabulary, (batch, _PROMPT))
    return prompt, Sizes().draw()


def _judge(inputs: tuple[Any, ...]) -> Judge:
    """Judge by the tokens that the formulas give in float64: all of them must be the same."""
    prompt, vector = inputs
    wanted = greedy(Sizes(), vector, prompt, Sizes().positions - _PROMPT)

    def judge(outputs: Sequence[Array]) -> str:
        (seen,) = outputs
        if seen.shape != wanted.shape:
            return f"the output has shape {list(seen.shape)}"
        same = (seen == wanted).all(axis=0)
        return "" if same.all() else f"goes another way from token {int(same.argmin())} on"

    return judge


def _flops(batch: int) -> int:
    sizes = Sizes()
    products = sizes.layers * 12 * sizes.width**2 + sizes.width * sizes.vocabulary
    steps = sizes.positions - 1
    looks = sizes.layers * 2 * sizes.width * steps * (steps + 1) // 2
    return 2 * batch * (steps * products + looks)


def _case(batch: int) -> Case:
    return Case(
        name=f"generate {batch}x512",
        kind="generation",
        inputs=functools.partial(_inputs, batch),
        judge=_judge,
        params=dataclasses.asdict(Sizes()),
        flops=_flops(batch),
        quick=batch == 1,
    )


def groups() -> tuple[Group, ...]:
    """Return one prompt, and eight at once."""
    title = "Generating with a cache, 4 layers, 256 wide, 512 tokens"
    bars = (Bar("PyTorch with a cache of its own", 1.5, ("PyTorch",)),)
    peers = ("tinytorch", "PyTorch")
    return (Group("generation", title, (_case(1), _case(8)), peers, bars, 72),)
