"""The networks that the journey trains."""

from __future__ import annotations

import numpy as np
import pytest

from tinytorch.backends import use_backend
from tinytorch.backends.recording import recording
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


def test_what_training_runs_is_compiled_before_it_begins() -> None:
    pytest.importorskip("sklearn")
    with recording() as recorder:
        for network in training.NETWORKS:
            training.train_digits(network, "auto", lambda of, losses: None, 0.0)
        with use_backend("auto"):
            training.train_gpt(lambda of, losses: None, steps=1)
    ran = {f"{call.op}/{call.kernel}" for call in recorder.calls}
    numpys = {"add/inplace", "multiply/inplace", "matmul/library"}  # nothing to compile
    assert ran - numpys <= set(training.kernels())
    assert {name.partition("/")[0] for name in ran - numpys} == set(training._OPS)


def test_a_gpt_reads_the_standard_library() -> None:
    author = training.train_gpt(lambda of, losses: None, steps=12, width=16, layers=1)
    assert author.trained.losses[-1] < author.trained.losses[0]
    assert author.write("def ", 5).startswith("def ") and len(author.write("def ", 5)) == 9


def test_a_sparkline_falls_with_its_values() -> None:
    assert sparkline([3.0, 2.0, 1.0], width=3) == "█▅▁"
    assert sparkline([1.0, 1.0]) == "▁▁"
    assert sparkline([]) == ""
    assert len(sparkline([float(i) for i in range(1000)])) == 24
