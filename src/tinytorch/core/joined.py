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
        self.others = sorted({*range(len(params))} - {*self.numbers})
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

    def _found(self, name: Any) -> tuple[Array, list[Array]]:
        """Return the block of a name and its parts, made of zeros at first."""
        if name not in self._blocks:
            sizes = [p.size for p in self._params]
            block = np.zeros(sum(sizes), self._dtype)
            each = zip(np.cumsum(sizes), sizes, self._shapes, strict=True)
            parts = [block[end - n : end].reshape(shape) for end, n, shape in each]
            self._blocks[name] = block, parts
        return self._blocks[name]

    def block(self, name: Any, arrays: list[Array | None]) -> Array:
        """Return the block that the small ones of `arrays` are parts of.

        What is not yet (None: zeros) is copied there, and its part put in its place.
        """
        block, parts = self._found(name)
        for i, part in zip(self.numbers, parts, strict=True):
            held = arrays[i]
            if held is not part:
                part[...] = 0 if held is None else held
                arrays[i] = part
        return block

    def gathered(self, gradients: Sequence[Array]) -> Array:
        """Return copies of gradients, one after the other."""
        block, parts = self._found("grad")
        for part, grad in zip(parts, gradients, strict=True):
            part[...] = grad
        return block
