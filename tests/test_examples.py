"""The example programs do what their first lines say, at a small size."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tinytorch import backends
from tinytorch.cli import main as cli

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
OWN_KERNEL = str(EXAMPLES / "own_kernel.py")


def run(name: str, *arguments: str) -> str:
    """Run an example as its user does, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_tested_and_explained() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert path.name in text
        assert f"python examples/{path.name}" in path.read_text(encoding="utf-8")


def test_every_backend_recognises_the_same_digits() -> None:
    pytest.importorskip("sklearn")
    out = run("nearest_digits.py", "--images", "10", "--seconds", "0.05")
    found = re.findall(r"^(\w+) +([\d.]+) % right +[\d.,]+ [mun]?s", out, re.MULTILINE)
    assert [name for name, _ in found] == ["naive", "blocked", "numpy", "auto"]
    (accuracy,) = {float(share) for _, share in found}
    assert accuracy >= 80


def test_a_comparison_ends_in_a_verdict() -> None:
    out = run("is_it_faster.py", "--elements", "1000", "--seconds", "0.1")
    assert re.search(r"^verdict: after is (faster|slower|same|unresolved)$", out, re.MULTILINE)
    assert out.count("stopped by") == 2


def test_the_kernel_file_is_a_program_on_itself() -> None:
    out = run("own_kernel.py")
    assert "[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]" in out
    assert "computed by outer_products" in out


def test_the_kernel_file_passes_the_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["doctor", OWN_KERNEL, "--json"]) == 0
    (finding,) = json.loads(capsys.readouterr().out)
    assert finding["ok"]
    assert finding["check"] == "matmul/outer_products"


def test_the_kernel_file_is_timed_beside_the_library(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["matmul", "--kernels", f"{OWN_KERNEL},library", "--sizes", "64"]
    assert cli.run(["bench", *arguments, "--seconds", "0.05", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == ["outer_products", "library"]
    assert (
        cli.run(
            [
                "compare",
                f"matmul/{OWN_KERNEL}",
                "matmul/library",
                "--size",
                "64",
                "--seconds",
                "0.05",
            ]
        )
        == 0
    )


def test_the_kernel_file_is_a_backend() -> None:
    backend = backends.get(OWN_KERNEL)
    assert backend.rungs("matmul")[0].name == "outer_products"


def test_a_neuron_separates_two_clouds() -> None:
    out = run("perceptron.py", "--points", "100", "--epochs", "50")
    assert float(re.search(r"([\d.]+) % on the right side", out)[1]) >= 97


def test_two_layers_learn_xor() -> None:
    out = run("xor.py")
    assert re.findall(r"xor \d = (\d)", out) == ["0", "1", "1", "0"]
    assert float(re.search(r"loss ([\d.]+)", out)[1]) < 0.02


@pytest.mark.parametrize("name", ["mlp_digits.py", "cnn_digits.py"])
@pytest.mark.parametrize("backend", ["numpy", "auto"])
def test_networks_read_digits(name: str, backend: str) -> None:
    pytest.importorskip("sklearn")
    out = run(name, "--epochs", "6", "--backend", backend)
    assert float(re.search(r"([\d.]+) % of 180 test images right", out)[1]) >= 95


def test_attention_copies() -> None:
    out = run("attention_copy.py", "--steps", "250", "--length", "4")
    assert float(re.search(r"([\d.]+) % of letters right", out)[1]) >= 95


def test_a_gpt_learns_from_source() -> None:
    out = run("gpt_source.py", "--steps", "60", "--width", "32", "--layers", "1", "--batch", "8")
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+) ", out)]
    assert losses[0] > 5 and losses[-1] < 3.2
    assert "def " in out
