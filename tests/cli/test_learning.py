"""The networks that the journey trains."""

from __future__ import annotations

import numpy as np
import pytest

from tinytorch.cli import training
from tinytorch.cli.console import sparkline


def test_backends_train_the_same_network() -> None:
    pytest.importorskip("sklearn")
    seen: list[int] = []
    found = {
        backend: training.train_digits(
            "MLP", backend, lambda of, losses: seen.append(len(losses)), seconds
        )
        for backend, seconds in (("naive", 0.0), ("numpy", None), ("auto", None))
    }
    few = found["naive"]
    assert len(few.losses) == 1 and few.accuracy is None and few.of == len(found["auto"].losses)
    for trained in found.values():
        np.testing.assert_allclose(trained.losses[:1], few.losses, rtol=1e-4)
    assert found["numpy"].accuracy >= 0.95
    assert found["auto"].accuracy == pytest.approx(found["numpy"].accuracy, abs=0.006)
    assert seen[-1] == few.of - 1


def test_a_gpt_reads_the_standard_library() -> None:
    author = training.train_gpt(lambda of, losses: None, steps=12, width=16, layers=1)
    assert author.trained.losses[-1] < author.trained.losses[0]
    assert author.write("def ", 5).startswith("def ") and len(author.write("def ", 5)) == 9


def test_a_sparkline_falls_with_its_values() -> None:
    assert sparkline([3.0, 2.0, 1.0], width=3) == "█▅▁"
    assert sparkline([1.0, 1.0]) == "▁▁"
    assert sparkline([]) == ""
    assert len(sparkline([float(i) for i in range(1000)])) == 24
