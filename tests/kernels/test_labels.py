"""Kernels that are given labels index with them, so each looks at them first."""

from __future__ import annotations

import numpy as np
import pytest

from tinytorch.errors import InvalidValue
from tinytorch.kernels import registry

OPS = ("cross_entropy", "cross_entropy_gradient")


@pytest.mark.parametrize("label", [-1, 3, 1 << 40])
@pytest.mark.parametrize(
    ("op", "rung"), [(op, rung) for op in OPS for rung in registry.rung_names(op)]
)
def test_labels_that_are_no_classes_are_refused(op: str, rung: str, label: int) -> None:
    logits, labels = np.ones((4, 3), np.float32), np.array([0, 2, label, 1])
    with pytest.raises(InvalidValue, match=f"from 0 to 2 for 3 classes, got .*{label}"):
        registry.get(op, rung).function(logits, labels)
