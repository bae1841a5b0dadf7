"""Pruning in steps, each followed by training: much is kept that one cut would lose.

The cubic schedule of Zhu and Gupta, "To prune, or not to prune" (2017).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinytorch.perf.compression.magnitude import (
    Masks,
    checked_share,
    magnitude_prune,
    measure_sparsity,
)
from tinytorch.perf.profiling.timer import checked_count


def sparsity_at(step: int, steps: int, final: float, initial: float = 0.0) -> float:
    """Return the share of zeros after a step, 1 to steps: final + (initial - final) (1 - t)^3."""
    checked_count(steps, "steps", 1)
    share = checked_count(step, "step", 0) / steps
    return final + (initial - final) * (1 - min(1.0, share)) ** 3


def prune_gradually(
    model: Any, sparsity: float, fine_tune: Callable[[Masks], Any], steps: int = 5
) -> list[float]:
    """Prune by magnitude in steps, and call `fine_tune(masks)` after each; return the sparsities.

    fine_tune trains as it likes, and calls masks.apply() after each of its optimizer's steps;
    once more is done here. The percentages returned are measured after each training.
    """
    final = checked_share(sparsity, "sparsity")
    begun = measure_sparsity(model) / 100
    reached = []
    for step in range(1, checked_count(steps, "steps", 1) + 1):
        magnitude_prune(model, sparsity_at(step, steps, final, min(begun, final)))
        masks = Masks(model)
        fine_tune(masks)
        masks.apply()
        reached.append(measure_sparsity(model))
    return reached
