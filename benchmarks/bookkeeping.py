"""What bookkeeping costs beside no peer: gradients in Python's time and memory, and profiling."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from peers import ours_training
from results import Held
from training import RECIPES, arrays, resident_bytes

import tinytorch as tt
from tinytorch.backends.recording import recording
from tinytorch.measure.clock import Effort, compare
from tinytorch.measure.units import bytes_text, ratio_text, seconds_text

_EFFORT = Effort(seconds=1.0, relative_width=0.02, min_rounds=15)
_STEPS = 1000
# What 1,000 steps may add: the interpreter's own, and a page here and there.
_GROWTH_BYTES = 1 << 20


def overhead() -> Iterator[Held]:
    """Recorded operations on 4 x 4 Tensors, less NumPy's own time for the same."""
    x, y = (tt.Tensor(np.ones((4, 4)), requires_grad=True) for _ in range(2))
    a, two = np.ones((4, 4), np.float32), np.float32(2)
    each: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
        "x + y": (lambda: np.add(a, a), lambda: x + y),
        "x * 2.0": (lambda: np.multiply(a, two), lambda: x * 2.0),
        "x @ y": (lambda: np.matmul(a, a), lambda: x @ y),
    }
    for name, (plain, recorded) in each.items():
        found = compare(plain, recorded, effort=_EFFORT)
        pairs = zip(found.baseline.seconds, found.candidate.seconds, strict=True)
        extra = [after - before for before, after in pairs]
        typical = statistics.median(extra)
        text = f"{seconds_text(typical)}; at the least {seconds_text(min(extra))}"
        yield Held("house", f"recording {name}", "<= 4 us", text, typical <= 4e-6)


def steady_memory() -> Iterator[Held]:
    """Resident memory after 1,000 training steps, beyond that after the first hundred."""
    recipe = RECIPES["MLP 64-256-256-10, batch 64"]
    step = ours_training.trainer(recipe, recipe.sizes, arrays(recipe))
    with tt.use_backend(recipe.backend):
        for _ in range(100):
            step()
        before = resident_bytes()
        for _ in range(_STEPS):
            step()
    grown = max(0, resident_bytes() - before)
    held = grown <= _GROWTH_BYTES
    yield Held("house", "memory added by 1,000 steps", "<= 1 MiB", bytes_text(grown), held)


def profiling() -> Iterator[Held]:
    """A GPT's training step recorded as `tito profile` does, beside the same step alone."""
    recipe = RECIPES["GPT 4 layers 256 wide, batch 8"]
    step = ours_training.trainer(recipe, recipe.sizes, arrays(recipe))

    def recorded() -> None:
        with recording():
            step()

    with tt.use_backend(recipe.backend):
        found = compare(recorded, step, effort=Effort(seconds=10.0, min_rounds=15))
    says = ratio_text(found.ratio)
    yield Held("house", "a profiled GPT step / alone", "<= 1.05", says, found.ratio.median <= 1.05)
