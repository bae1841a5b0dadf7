"""Rules of losses: each is one operation, so that nothing of the inputs' size is kept twice."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.core import compute
from tinytorch.core.graph import Rule
from tinytorch.ops.spec import Array


def _scaled(total: Array, scale: float) -> Array:
    return np.asarray(total * total.dtype.type(scale))


class MSEBackward(Rule):
    """The mean (or with `scale` 1, the sum) of (x - t)^2."""

    __slots__ = ()
    fresh = True

    def forward(self, x: Array, t: Array, scale: float) -> Array:
        """Compute on the backend, and keep both inputs."""
        self.saved = x, t, scale
        return _scaled(compute.squared_error(x, t), scale)

    def backward(self, grad: Array) -> Any:
        """2 (x - t) scale."""
        x, t, scale = self.saved
        slope = compute.squared_error_gradient(x, t, float(grad) * scale)
        return slope, -slope if self.edges[1] is not None else None


class BCEBackward(Rule):
    """-(t log p + (1 - t) log(1 - p)), its logarithms kept above -100 as PyTorch does."""

    __slots__ = ()
    fresh = True

    def forward(self, p: Array, t: Array, scale: float) -> Array:
        """Compute on the backend, and keep both inputs."""
        self.saved = p, t, scale
        return _scaled(compute.binary_cross_entropy(p, t), scale)

    def backward(self, grad: Array) -> Any:
        """(p - t) / (p (1 - p)), the denominator kept above 1e-12."""
        p, t, scale = self.saved
        return compute.binary_cross_entropy_gradient(p, t, float(grad) * scale), None


class CrossEntropyBackward(Rule):
    """The mean (or with `scale` N, the sum) of -log softmax(x)[label], over rows."""

    __slots__ = ()
    fresh = True

    def forward(self, x: Array, labels: Array, scale: float) -> Array:
        """Keep the logits, and none of their probabilities."""
        self.saved = x, labels, scale
        loss = compute.cross_entropy(x, labels)
        return loss if scale == 1 else _scaled(loss, scale)

    def backward(self, grad: Array) -> Any:
        """softmax(x), less 1 at the label."""
        x, labels, scale = self.saved
        return compute.cross_entropy_gradient(x, labels, float(grad) * scale)
