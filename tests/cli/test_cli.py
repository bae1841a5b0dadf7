"""Every command as a user types it: output, JSON, exit codes, and one line for each mistake."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tinytorch.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        code = main.run(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_has_help_with_an_example(run: Run, name: str) -> None:
    code, out, _ = run(name, "--help")
    assert code == 0
    assert "Example" in out
    assert f"tito {name}" in out


def test_the_help_lists_every_command(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    assert all(name in out for name in main.COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "offered"),
    [
        (["laddder", "matmul"], "'ladder'"),
        (["ladder", "matmull"], "'matmul'"),
        (["bench", "matmul", "--kernels", "libary"], "'library'"),
        (["bench", "matmul", "--sizes", "25"], "'256'"),
        (["bench", "gelu", "--backend", "nmpy"], "'numpy'"),
        (["compare", "matmul/libary", "matmul/blocked"], "'library'"),
        (["tune", "geluu"], "'gelu'"),
        (["ops", "sofmax"], "'softmax'"),
        (["roofline", "rlu"], "'relu'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_unknown_name_is_one_line_that_offers_the_nearest(
    run: Run, arguments: list[str], offered: str
) -> None:
    code, out, err = run(*arguments)
    assert code == 2
    assert not out
    lines = [line for line in err.splitlines() if line.startswith("tito:")]
    assert len(lines) == 1
    assert f"did you mean {offered}?" in lines[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bench", "matmul", "--dtype", "float16"], "float32 or float64"),
        (["bench", "no.such.module:f"], "can't find"),
        (["bench", "json:nothing"], "can't find"),
        (["bench", "json:__name__"], "not something to call"),
        (["compare", "matmul/library", "gelu/fused"], "computes"),
        (["compare", "library", "blocked"], "OP/KERNEL"),
        (["cache", "gelu"], "loop nests are known for matmul"),
        (["cache", "matmul", "--size", "100000"], "1 to 1024"),
        (["ladder", "gelu", "--params", "approximate=none,x=1"], "approximate=tanh"),
        (["selftest", "--threads", "100000"], "number of threads"),
        (["doctor", "no-such-file.py"], "no kernel file"),
        (["bench"], "TARGET"),
        (["ops", "--nonsense"], "--nonsense"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_usage_is_said_and_exits_with_2(run: Run, arguments: list[str], said: str) -> None:
    code, _, err = run(*arguments)
    assert code == 2
    assert said in err
    assert "Traceback" not in err


def test_ops_lists_and_explains(run: Run) -> None:
    code, out, _ = run("ops", "--json")
    assert code == 0
    assert {"matmul", "gelu"} <= {row["op"] for row in json.loads(out)}
    code, out, _ = run("ops", "matmul")
    assert code == 0
    assert "naive" in out
    assert "sqrt(K)" in out


def test_bench_verifies_and_times_each_kernel(run: Run) -> None:
    code, out, _ = run("bench", "matmul", "--sizes", "32,8x4:4x6", "--seconds", "0.05", "--json")
    assert code == 0
    rows = json.loads(out)
    assert {row["metadata"]["size"] for row in rows} == {"32", "8x4:4x6"}
    assert all(row["metadata"]["error_share_of_bound"] <= 1 for row in rows)
    assert all(min(row["seconds"]) > 0 for row in rows)
    assert {"library", "compiled"} <= {row["name"] for row in rows}


def test_bench_times_backends_and_callables(run: Run, tmp_path: Path) -> None:
    pyperf = tmp_path / "pyperf.json"
    arguments = ["bench", "relu", "--backend", "numpy,auto", "--sizes", "1K", "--seconds", "0.05"]
    code, out, _ = run(*arguments, "--pyperf", str(pyperf))
    assert code == 0
    assert "backend auto" in out
    assert len(json.loads(pyperf.read_text())["benchmarks"]) == 2
    code, out, _ = run("bench", "platform:node", "--seconds", "0.02", "--json")
    assert code == 0
    assert json.loads(out)["name"] == "platform:node"


def test_a_wrong_kernel_is_never_timed(run: Run, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "import numpy as np\n"
        "from tinytorch.kernels.registry import kernel\n"
        "@kernel('matmul')\n"
        "def mine(a, b, out=None):\n"
        "    return np.matmul(a, b) * a.dtype.type(1.001)\n"
    )
    code, out, err = run("bench", "matmul", "--kernels", f"{wrong},library", "--sizes", "32")
    assert code == 1
    assert not out
    assert "matmul/mine is wrong" in err
    code, out, err = run("doctor", str(wrong))
    assert code == 1
    assert "FAILED" in out
    code, _, err = run("compare", f"matmul/{wrong}", "matmul/library", "--size", "32")
    assert code == 1


def test_compare_gives_a_ratio_and_a_verdict(run: Run) -> None:
    code, out, _ = run(
        "compare", "matmul/rows", "matmul/library", "--size", "64", "--seconds", "0.5", "--json"
    )
    assert code == 0
    found = json.loads(out)
    assert found["verdict"] == "faster"
    assert found["ratio"]["low"] <= found["ratio"]["median"] <= found["ratio"]["high"]


def test_compare_names_one_thing_twice(run: Run) -> None:
    code, out, _ = run("compare", "platform:node", "platform:node", "--seconds", "0.05")
    assert code == 0
    assert "(again)" in out


def test_cache_simulates_and_says_so(run: Run) -> None:
    code, out, _ = run("cache", "matmul", "--size", "48")
    if code == 3:
        pytest.skip("this machine does not say how its caches are built")
    assert code == 0
    assert "simulated, not measured" in out
    code, out, _ = run("cache", "matmul", "--size", "48", "--tile", "16", "--json")
    assert {row["order"] for row in json.loads(out)} == {"ijk", "ikj", "tiled"}


def test_tune_keeps_what_it_finds_and_clears_it(run: Run) -> None:
    code, out, _ = run("tune", "dot", "--json")
    assert code == 0
    tuned = json.loads(out)
    assert {entry["key"]["op"] for entry in tuned} == {"dot"}
    assert all(entry["default"] in entry["seconds"] for entry in tuned)
    code, out, _ = run("tune", "--show", "--json")
    assert {entry["key"]["op"] for entry in json.loads(out)} >= {"dot"}
    code, out, _ = run("tune", "--clear")
    assert code == 0
    assert "forgotten" in out


def test_selftest_reports_a_rate(run: Run) -> None:
    code, out, _ = run("selftest", "--comparisons", "2", "--json")
    assert code == 0
    assert 0 <= json.loads(out)["rate"] <= 1


def test_warmup_compiles(run: Run) -> None:
    code, out, _ = run("warmup", "relu")
    assert code == 0
    assert "kernels ready" in out


def test_doctor_passes_a_right_kernel_file(run: Run, tmp_path: Path) -> None:
    right = tmp_path / "right.py"
    right.write_text(
        "import numpy as np\n"
        "from tinytorch.kernels.registry import kernel\n"
        "@kernel('matmul')\n"
        "def mine(a, b, out=None):\n"
        "    return np.matmul(a, b, out=out)\n"
    )
    code, out, _ = run("doctor", str(right), "--json")
    assert code == 0
    assert [finding["ok"] for finding in json.loads(out)] == [True]


def test_output_is_plain_ascii_where_the_terminal_has_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "tinytorch.cli.main", "ops", "gelu"],
        capture_output=True,
        env={"PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "ascii", "HOME": str(tmp_path)},
        check=True,
    )
    assert done.stdout.isascii()
    assert b"fused" in done.stdout
