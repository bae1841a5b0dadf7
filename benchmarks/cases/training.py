"""Whole training steps: forward, loss, backward and the optimizer, as a user writes them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from case import Bar, Case, Group, Judge
from training import RECIPES, TOLERANCE, Recipe, arrays

from tinytorch.ops.spec import Array


def _judge(inputs: tuple[Any, ...]) -> Judge:
    """Return a judge of losses: they fall, and every peer's are the first one's."""
    first: list[Array] = []

    def judge(outputs: Sequence[Array]) -> str:
        losses = outputs[0]
        if not np.isfinite(losses).all() or not losses[-1] < losses[0]:
            return f"the loss went from {losses[0]:.4f} to {losses[-1]:.4f}: it does not learn"
        first.append(losses)
        apart = float(np.abs(losses - first[0]).max())
        return "" if apart <= TOLERANCE else f"losses differ by {apart:.1e} within the first steps"

    return judge


def _case(name: str, recipe: Recipe) -> Case:
    return Case(
        name=f"step {name}",
        kind="training",
        inputs=functools.partial(arrays, recipe),
        judge=_judge,
        params={"recipe": name},
        flops=recipe.flops,
        quick=recipe.kind != "gpt",
    )


def groups() -> tuple[Group, ...]:
    """Return one step of each model, of ours beside eager PyTorch's."""
    cases = tuple(_case(name, recipe) for name, recipe in RECIPES.items())
    bars = tuple(
        Bar(f"PyTorch, {name}", recipe.at_least, ("PyTorch",), only=(f"step {name}",))
        for name, recipe in RECIPES.items()
    )
    return (Group("training", "Training steps", cases, ("tinytorch", "PyTorch"), bars, 80),)
