"""Small parameters side by side in one block of memory, so that one call updates all of them.

A model has many vectors of a few hundred elements (biases, norms), and a call of an op costs more
than their arithmetic: Adam takes 0.1 ms for a vector of 256, and a small GPT has forty of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinytorch.core.tensor import Tensor
from tinytorch.ops.spec import Array

# Elements from which a parameter is worth a call of its own.
LARGE = 1 << 17


class Joined:
    """Which parameters are small, and the blocks that hold what belongs to them."""

    def __init__(self, params: Sequence[Tensor]) -> None:
        """Look for small parameters of the first one's dtype: two at least."""
        dtype = params[0].dtype
        small = [i for i, p in enumerate(params) if p.dtype == dtype and p.size < LARGE]
        self.numbers = small if len(small) > 1 else []
        self.others = [i for i in range(len(params)) if i not in self.numbers]
        self._params = [params[i] for i in self.numbers]
        self._shapes = [p.shape for p in self._params]
        self._blocks: dict[Any, tuple[Array, list[Array]]] = {}
        self._dtype = dtype

    def ready(self) -> bool:
        """Say whether there are some, all with gradients, and of the shapes they had."""
        return bool(self._params) and all(
            p.grad is not None and p._data.shape == shape
            for p, shape in zip(self._params, self._shapes, strict=True)
        )

    def _made(self) -> tuple[Array, list[Array]]:
        sizes = [p.size for p in self._params]
        block = np.zeros(sum(sizes), self._dtype)
        ends = np.cumsum(sizes)
        each = zip(ends, sizes, self._shapes, strict=True)
        return block, [block[end - n : end].reshape(shape) for end, n, shape in each]

    def block(self, name: Any, arrays: list[Array | None]) -> Array:
        """Return the block that the small ones of `arrays` are parts of.

        What is not yet (None: zeros) is copied there, and its part put in its place.
        """
        known = self._blocks.get(name)
        if known is None:
            known = self._blocks[name] = self._made()
        for i, part in zip(self.numbers, known[1], strict=True):
            held = arrays[i]
            if held is not part:
                part[...] = 0 if held is None else held
                arrays[i] = part
        return known[0]

    def gathered(self, gradients: Sequence[Array]) -> Array:
        """Return copies of gradients, one after the other."""
        block, parts = self._blocks.get("grad") or self._blocks.setdefault("grad", self._made())
        for part, grad in zip(parts, gradients, strict=True):
            part[...] = grad
        return block
