"""The distribution of a model's weights: what pruning and quantization start from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinytorch.errors import InvalidValue
from tinytorch.perf.models import array_in, parameters_of

_THRESHOLDS = (0.001, 0.01, 0.1)


def analyze_weight_distribution(
    model: Any, percentiles: Sequence[float] = (10, 25, 50, 75, 90)
) -> dict[str, Any]:
    """Return statistics of all parameters together.

    count; mean, std, min, max of the values; abs_mean; percentiles {p: value of |w|}, each also as
    percentile_p; below_0.001, below_0.01, below_0.1: the percentage of |w| under that; zeros: how
    many are exactly 0. Raises InvalidValue for a model without parameters, or a percentile outside
    0 .. 100.
    """
    found = [array_in(p).ravel() for p in parameters_of(model)]
    weights = np.concatenate(found).astype(np.float64) if found else np.empty(0)
    if not weights.size:
        raise InvalidValue(f"a {type(model).__name__} has no parameters to analyse")
    for p in percentiles:
        if not 0 <= p <= 100:
            raise InvalidValue(f"a percentile must be between 0 and 100, got {p!r}")
    size = np.abs(weights)
    at = {p: float(np.percentile(size, p)) for p in percentiles}
    return {
        "count": int(weights.size),
        "total_weights": int(weights.size),
        "mean": float(weights.mean()),
        "std": float(weights.std()),
        "min": float(weights.min()),
        "max": float(weights.max()),
        "abs_mean": float(size.mean()),
        "zeros": int((weights == 0).sum()),
        "percentiles": at,
        **{f"percentile_{p:g}": value for p, value in at.items()},
        **{f"below_{t:g}": 100 * float((size < t).mean()) for t in _THRESHOLDS},
    }
