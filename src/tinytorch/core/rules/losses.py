"""Rules of losses: each is one operation, so that nothing of the inputs' size is kept twice."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinytorch.core import compute
from tinytorch.core.graph import Rule
from tinytorch.ops.spec import Array


class MSEBackward(Rule):
    """The mean (or with `scale` 1, the sum) of (x - t)^2."""

    __slots__ = ()
    fresh = True

    def forward(self, x: Array, t: Array, scale: float) -> Array:
        """Keep the difference."""
        away = x - t
        self.saved = away, scale
        return np.asarray(np.vdot(away, away) * away.dtype.type(scale))

    def backward(self, grad: Array) -> Any:
        """2 (x - t) scale."""
        away, scale = self.saved
        slope = away * (grad * away.dtype.type(2 * scale))
        return slope, -slope if self.edges[1] is not None else None


class BCEBackward(Rule):
    """-(t log p + (1 - t) log(1 - p)), its logarithms kept above -100 as PyTorch does."""

    __slots__ = ()
    fresh = True

    def forward(self, p: Array, t: Array, scale: float) -> Array:
        """Keep both inputs."""
        self.saved = p, t, scale
        with np.errstate(divide="ignore"):
            log_p, log_q = np.maximum(np.log(p), -100), np.maximum(np.log1p(-p), -100)
        loss = -(t * log_p + (1 - t) * log_q).sum()
        return np.asarray(loss * p.dtype.type(scale), p.dtype)

    def backward(self, grad: Array) -> Any:
        """(p - t) / (p (1 - p)), the denominator kept above 1e-12."""
        p, t, scale = self.saved
        slope = (p - t) / np.maximum(p * (1 - p), p.dtype.type(1e-12))
        return slope * (grad * p.dtype.type(scale)), None


class CrossEntropyBackward(Rule):
    """The mean (or with `scale` N, the sum) of -log softmax(x)[label], over rows."""

    __slots__ = ()
    fresh = True

    def forward(self, x: Array, labels: Array, scale: float) -> Array:
        """Keep the logits, and none of their probabilities."""
        self.saved = x, labels, scale
        loss = compute.cross_entropy(x, labels)
        return loss if scale == 1 else np.asarray(loss * x.dtype.type(scale))

    def backward(self, grad: Array) -> Any:
        """softmax(x), less 1 at the label."""
        x, labels, scale = self.saved
        return compute.cross_entropy_gradient(x, labels, float(grad) * scale)
