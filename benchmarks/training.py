"""Models to train, as arrays: initial weights and one batch, from a seed.

Weights are named as our layers name them, matrices stored (in, out); `RECIPES` says how each is
trained. A peer builds the same model of them in its own way.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

STEPS = 20
# NOTE: not every seed will do. With 0 a unit of the CNN comes to -1e-7 in one correct program and
# to 1e-7 in another at the 18th step, and from there on their losses part by 2e-3.
SEED = 1
# What two correct programs may differ by in a loss, within the first steps.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Recipe:
    """A model and how it is trained.

    kind: "mlp", "cnn" or "gpt". sizes: what the weights are made from; lr: of SGD, or AdamW for
    "gpt". small: other sizes of the same kind, to load code with. at_least: the bar. backend: which
    of ours trains; in the large ones, products share threads with the kernels between them.
    """

    kind: str
    sizes: tuple[int, ...]
    batch: int
    lr: float
    small: tuple[int, ...]
    at_least: float
    backend: str = "auto"

    @property
    def flops(self) -> int:
        """The operations of a step's products: forward, and twice as many backward."""
        if self.kind == "mlp":
            return 6 * self.batch * sum(i * o for i, o in itertools.pairwise(self.sizes))
        if self.kind == "cnn":
            _, c1, c2, a, b, c = self.sizes
            each = 24 * 24 * c1 * 25 + 8 * 8 * c2 * 25 * c1 + 16 * c2 * a + a * b + b * c
            return 6 * self.batch * each
        width, layers, _, length, vocabulary = self.sizes
        dense = layers * 12 * width**2 + width * vocabulary
        return 6 * self.batch * length * (dense + layers * length * width)


RECIPES = {
    "MLP 64-256-256-10, batch 64": Recipe("mlp", (64, 256, 256, 10), 64, 0.05, (8, 8, 4), 1.3),
    "MLP 784-1024-1024-10, batch 256": Recipe(
        "mlp", (784, 1024, 1024, 10), 256, 0.05, (8, 8, 4), 1.0, "native"
    ),
    "CNN 28x28, batch 64": Recipe("cnn", (28, 6, 16, 120, 84, 10), 64, 0.05, (28, 2, 2, 4), 1.0),
    # width, layers, heads, tokens in a sequence, vocabulary
    "GPT 4 layers 256 wide, batch 8": Recipe(
        "gpt", (256, 4, 8, 128, 256), 8, 3e-4, (16, 1, 2, 8, 16), 1.15, "native"
    ),
}


def _dense(rng: np.random.Generator, sizes: Sequence[int], first: int = 0) -> list[Array]:
    made = []
    for i, o in itertools.pairwise(sizes):
        made += [rng.normal(0, 1 / math.sqrt(i), (i, o)), rng.normal(0, 0.01, o)]
    return made


def _mlp(rng: np.random.Generator, sizes: tuple[int, ...], batch: int) -> list[Array]:
    return [
        *_dense(rng, sizes),
        rng.normal(0, 1, (batch, sizes[0])),
        rng.integers(0, sizes[-1], batch),
    ]


def _cnn(rng: np.random.Generator, sizes: tuple[int, ...], batch: int) -> list[Array]:
    side, c1, c2, *rest = sizes
    flat = c2 * (((side - 4) // 2 - 4) // 2) ** 2
    kernels = [
        rng.normal(0, 0.2, (c1, 1, 5, 5)),
        rng.normal(0, 0.01, c1),
        rng.normal(0, 1 / math.sqrt(25 * c1), (c2, c1, 5, 5)),
        rng.normal(0, 0.01, c2),
    ]
    images = rng.normal(0, 1, (batch, 1, side, side))
    return [*kernels, *_dense(rng, (flat, *rest)), images, rng.integers(0, rest[-1], batch)]


def _gpt(rng: np.random.Generator, sizes: tuple[int, ...], batch: int) -> list[Array]:
    width, layers, _, length, vocabulary = sizes
    made = [rng.normal(0, 0.05, (vocabulary, width)), rng.normal(0, 0.02, (length, width))]
    for _ in range(layers):
        made += [np.ones(width), np.zeros(width)]
        for _ in range(4):
            made += _dense(rng, (width, width))
        made += [np.ones(width), np.zeros(width), *_dense(rng, (width, 4 * width, width))]
    made += [np.ones(width), np.zeros(width), rng.normal(0, 0.05, (width, vocabulary))]
    tokens = rng.integers(0, vocabulary, (batch, length + 1))
    return [*made, tokens[:, :-1], tokens[:, 1:]]


_MAKERS: dict[str, Callable[..., list[Array]]] = {"mlp": _mlp, "cnn": _cnn, "gpt": _gpt}


def arrays(recipe: Recipe, small: bool = False) -> tuple[Array, ...]:
    """Return the initial weights, in the model's order, and the batch: inputs, then targets."""
    rng = np.random.default_rng(SEED)
    sizes, batch = (recipe.small, 2) if small else (recipe.sizes, recipe.batch)
    made = _MAKERS[recipe.kind](rng, sizes, batch)
    return tuple(
        a.astype(np.float32) if a.dtype.kind == "f" else np.ascontiguousarray(a) for a in made
    )


Trainer = Callable[[Recipe, tuple[int, ...], tuple[Any, ...]], Callable[[], float]]


def begun(trainer: Trainer, name: str, given: tuple[Any, ...]) -> tuple[Any, Array, str]:
    """Return a model's step, the losses of its first ones, and how much memory they took.

    That is the peak of resident memory beyond what the process had after it trained a small model
    of the same kind, which loads the code.
    """
    recipe = RECIPES[name]
    small = trainer(recipe, recipe.small, arrays(recipe, small=True))
    small()
    del small
    before = resident_bytes()
    forget_peak()
    step = trainer(recipe, recipe.sizes, given)
    losses = np.array([step() for _ in range(STEPS)])
    peak = resident_bytes(peak=True) - before
    return step, losses, f"peak {peak / 2**20:.0f} MiB"


def resident_bytes(peak: bool = False) -> int:
    """Return this process's resident memory now, or the most since `forget_peak` (Linux)."""
    wanted = "VmHWM:" if peak else "VmRSS:"
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    line = next(line for line in lines if line.startswith(wanted))
    return int(line.split()[1]) * 1024


def forget_peak() -> None:
    """Count the peak of resident memory from now on."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
