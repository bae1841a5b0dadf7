"""`tito profile`: a program runs as it would by itself, and its table adds up."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tinytorch.backends.base import ComputeBackend
from tinytorch.backends.recording import OpCall
from tinytorch.cli import main
from tinytorch.errors import InvalidValue
from tinytorch.perf.profiling import advice, optable
from tinytorch.perf.profiling.advice import amdahl, next_steps
from tinytorch.perf.profiling.lines import HotLine, fusible_operations
from tinytorch.perf.profiling.optable import OpRow
from tinytorch.perf.profiling.script import run_script
from tinytorch.perf.profiling.timeline import trace_events

PROGRAM = """
import sys
import numpy as np
from helper import shape
from tinytorch import Tensor

assert __name__ == "__main__"
x = Tensor(np.ones(shape))
for _ in range(int(sys.argv[1])):
    y = (x @ x).relu()
print("done", y.shape)
sys.exit(3)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    (tmp_path / "helper.py").write_text("shape = (32, 32)\n")
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def made(op: str = "matmul", seconds: float = 1.0, shapes: object = ((8, 8), (8, 8))) -> OpCall:
    return OpCall(op, shapes, "float32", {}, "library", "numpy", 5.0, seconds, 7)  # type: ignore


# ------------------------------------------------------------------------------ running a program


def test_a_program_runs_as_it_would_by_itself(
    program: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv, search, dispatch = sys.argv, list(sys.path), ComputeBackend.dispatch
    found = run_script(program, ["4"])
    assert "done (32, 32)" in capsys.readouterr().out
    assert (found.exit_code, found.failure) == (3, None)
    assert sorted(call.op for call in found.calls) == ["matmul"] * 4 + ["relu"] * 4
    assert sum(call.seconds for call in found.calls) < found.seconds
    assert (sys.argv, sys.path, ComputeBackend.dispatch) == (argv, search, dispatch)


def test_a_programs_failure_is_told_and_what_it_did_is_kept(program: Path) -> None:
    program.write_text(PROGRAM.replace("sys.exit(3)", "1 // 0"))
    found = run_script(program, ["2"])
    assert found.exit_code == 1
    assert "ZeroDivisionError" in (found.failure or "")
    assert len(found.calls) == 4
    with pytest.raises(InvalidValue, match="no file"):
        run_script(program.parent / "absent.py")


# ---------------------------------------------------------------------------------- the table


def test_rows_add_calls_up() -> None:
    rows = optable.op_rows([made(), made(seconds=2), made("relu", 5.0, ((4,),))])
    assert [(row.first.op, row.calls, row.seconds) for row in rows] == [
        ("relu", 1, 5.0),
        ("matmul", 2, 3.0),
    ]
    assert rows[1].flops == 2 * 2 * 8**3
    assert rows[1].bytes_moved == 2 * 3 * 64 * 4
    assert rows[1].shapes_text == "8x8:8x8"
    assert rows[1].fraction is rows[1].overhead is None
    rows[1].least_seconds, rows[1].dispatch_seconds = 1.5, 0.15
    assert (rows[1].fraction, rows[1].overhead) == (0.5, pytest.approx(0.1))


def test_dispatch_is_measured_without_the_kernel() -> None:
    rows = optable.op_rows([made("matmul", 1.0, ((512, 512), (512, 512)))])
    optable.measure_dispatch(rows)
    assert rows[0].dispatch_seconds is not None
    assert 0 < rows[0].dispatch_seconds < 1e-3
    assert 0 <= optable.recording_cost() < 50e-6


def test_the_busiest_thread_counts() -> None:
    calls = [made(seconds=1), made(seconds=2)]
    other = OpCall("relu", ((4,),), "float32", {}, "fused", "native", 0.0, 2.5, 8)
    assert optable.busy_seconds([*calls, other]) == 3
    assert optable.busy_seconds([]) == 0


def test_the_timeline_is_chromes() -> None:
    events = trace_events([made(seconds=0.5), made("relu", 0.25, ((4,),))], start=4.0)
    drawn = [event for event in events if event["ph"] == "X"]
    assert [(e["name"], e["ts"], e["dur"]) for e in drawn] == [
        ("matmul", 1e6, 5e5),
        ("relu", 1e6, 2.5e5),
    ]
    assert drawn[0]["args"]["flops"] == 2 * 8**3
    json.dumps(events)


# ------------------------------------------------------------------------------------- advice


def test_amdahl() -> None:
    assert amdahl(0.5, 0.0) == 2
    assert amdahl(0.5, 0.5) == pytest.approx(4 / 3)
    assert amdahl(0.0, 0.1) == 1


def test_the_largest_possible_gain_comes_first() -> None:
    hot = OpRow(made(seconds=6), calls=1, seconds=6, least_seconds=3)
    steps = next_steps([hot], wall_seconds=10, outside_seconds=2)
    assert [round(step.gain, 2) for step in steps] == [round(1 / 0.7, 2), 1.25]
    assert steps[0].command.startswith("tito compare matmul/library matmul/")
    assert "--size 8x8:8x8" in steps[0].command
    assert "20%" in steps[1].seen
    assert "--lines" in steps[1].command


def test_small_calls_are_told_to_become_larger() -> None:
    small = OpRow(made(), calls=1, seconds=6, least_seconds=1, dispatch_seconds=5)
    (step,) = next_steps([small], wall_seconds=6, outside_seconds=0)
    assert "fewer, larger calls" in step.seen
    assert step.command == ""


def test_what_is_at_its_roof_is_left_alone() -> None:
    done = OpRow(made(), calls=1, seconds=1, least_seconds=1)
    assert next_steps([done], wall_seconds=1, outside_seconds=0) == []
    assert advice.next_steps([], 1.0, 1.0)[0].gain == float("inf")


def test_a_fusible_line_is_advice() -> None:
    line = HotLine("/x/mine.py", 7, 5.0, "y = ...", 9)
    steps = next_steps([], 10.0, 10.0, [line])
    assert any("mine.py:7" in step.seen and step.gain == 2 for step in steps)
    assert all("--lines" not in step.command for step in steps)


def test_lines_that_one_loop_could_take(tmp_path: Path) -> None:
    path = tmp_path / "lines.py"
    path.write_text(
        "import numpy as np\n"
        "y = 0.5 * x * (1 + np.tanh(x))\n"
        "n = a * b + c\n"
        "z = np.sort(x)\n"
        "w = np.where(\n"
        "    x > 0,\n"
        "    x * 2,\n"
        "    -x)\n"
    )
    assert fusible_operations(str(path), 2) == 4
    assert fusible_operations(str(path), 3) == 0  # it may be numbers
    assert fusible_operations(str(path), 4) == 0
    assert fusible_operations(str(path), 7) == 3
    assert fusible_operations(str(tmp_path / "absent.py"), 1) == 0


# -------------------------------------------------------------------------------- the command


def test_the_command_writes_report_and_timeline(
    program: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["profile", "--output", str(tmp_path), str(program), "5"]) == 0
    out = capsys.readouterr().out
    assert "matmul" in out
    assert "recording cost" in out
    assert "what to do next" in out
    assert "<html" in (tmp_path / "program.html").read_text(encoding="utf-8")
    events = json.loads((tmp_path / "program.trace.json").read_text())["traceEvents"]
    assert sum(event["ph"] == "X" for event in events) == 10


def test_the_command_gives_data(
    program: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program.write_text(PROGRAM.replace('print("done", y.shape)', ""))
    assert main.run(["profile", "--json", "--output", str(tmp_path), str(program), "5"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["exit_code"] == 3
    product = next(row for row in data["ops"] if row["op"] == "matmul")
    assert product["calls"] == 5
    assert product["flops"] == 5 * 2 * 32**3
    assert product["fraction_of_roof"] > 0


def test_a_failed_program_is_one_error(
    program: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program.write_text("import tinytorch\nraise RuntimeError('mine')\n")
    assert main.run(["profile", "--output", str(tmp_path), str(program)]) == 3
    assert "RuntimeError: mine" in capsys.readouterr().err
    assert main.run(["profile", str(tmp_path / "absent.py")]) == 2


def test_lines_of_a_plain_program_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "plain.py"
    path.write_text(
        "import numpy as np\n"
        "x = np.ones(500_000)\n"
        "for _ in range(20):\n"
        "    y = 0.5 * x * (1 + np.tanh(x))\n"
    )
    assert main.run(["profile", "--json", "--output", str(tmp_path), str(path)]) == 0
    data = json.loads(capsys.readouterr().out)
    hottest = data["lines"][0]
    assert (Path(hottest["path"]).name, hottest["number"], hottest["fusible"]) == ("plain.py", 4, 4)
    assert any("@fuse" in step["seen"] for step in data["next"])
