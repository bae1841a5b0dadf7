"""The benchmarks' own machinery: processes, turns, bars and the page. No peer is needed for it."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tinytorch.errors import InvalidValue
from tinytorch.measure.clock import in_turn

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import cases  # noqa: E402
import page  # noqa: E402
import peers  # noqa: E402
import programs  # noqa: E402
import results  # noqa: E402
import steps  # noqa: E402
from case import Bar, Case, Group, op_case, wanted  # noqa: E402
from notes import NOTES  # noqa: E402
from peers import OURS, Peer  # noqa: E402
from process import PeerFailed, PeerProcess, Setting  # noqa: E402
from turns import Effort, Outcome, Result, Turns  # noqa: E402

SHORT = Effort(0.3, 1e-4, min_rounds=6, max_rounds=6)
POSIX = pytest.mark.skipif(os.name != "posix", reason="stops processes with POSIX signals")

PLANTED = '''
"""A planted peer."""
import gc, os, signal, time
from pathlib import Path
import numpy as np
from peers import Absent, Run

def start(threads):
    assert os.environ["OMP_NUM_THREADS"] == str(threads)
    return "1.0"

def honest(params, a, b): return Run(lambda: a @ b)
def liar(params, a, b): return Run(lambda: (a @ b) * np.float32(1.01))
def narrow(params, a, b): return Run(lambda: (a @ b).astype(np.float16))
def raiser(params, a, b): raise ValueError("no such product")
def unable(params, a, b): raise Absent("only takes integers")
def crasher(params, a, b): os._exit(3)

def late(action):
    """Act once, at the third sample: the collector is off while a sample is taken."""
    def maker(params, a, b):
        timed = [False]
        def call():
            if timed[-1] != (not gc.isenabled()):
                timed.append(not timed[-1])
                if sum(timed) == 3: action()
            return a @ b
        return Run(call)
    return maker

def meets(mine, other):
    """Be made only while another peer is."""
    def maker(params, a, b):
        Path(mine).touch()
        deadline = time.monotonic() + 20
        while not Path(other).exists():
            if time.monotonic() > deadline: raise ValueError("nobody came")
            time.sleep(0.01)
        return Run(lambda: a @ b)
    return maker

MAKERS = {f"matmul {name}": make for name, make in {
    "honest": honest, "liar": liar, "narrow": narrow, "raiser": raiser, "unable": unable,
    "crasher": crasher, "dying": late(lambda: os._exit(3)),
    "interrupting": late(lambda: os.kill(os.getppid(), signal.SIGINT)),
    "first": meets("first.here", "second.here"), "second": meets("second.here", "first.here"),
}.items()}
MAKERS = {k: (lambda m: lambda p, *a, variant: m(p, *a))(m) for k, m in MAKERS.items()}
'''
MISSING = '"""A peer without its library."""\ndef start(threads):\n    import no_such_library\n'
NAMES = (
    *("honest", "liar", "narrow", "raiser", "unable", "crasher"),
    *("dying", "interrupting", "first", "second"),
)


@pytest.fixture
def setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setting:
    """Return a folder with planted peers, which are peers by name for the length of the test."""
    (tmp_path / "planted.py").write_text(PLANTED, encoding="utf-8")
    (tmp_path / "missing.py").write_text(MISSING, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    planted = {name: Peer(name, "planted", "planted", name) for name in NAMES}
    planted["missing"] = Peer("missing", "missing", "no-such-library")
    monkeypatch.setattr(peers, "PEERS", {**peers.PEERS, **planted})
    for module in (sys.modules["turns"], results, page):
        monkeypatch.setattr(module, "PEERS", peers.PEERS)
    return Setting(1, tmp_path)


@pytest.fixture
def turns(setting: Setting) -> Iterator[Turns]:
    made = Turns(setting, SHORT)
    yield made
    made.close()


def small() -> Case:
    return op_case("matmul 8", "matmul", ((8, 8), (8, 8)))


# ------------------------------------------------------------------------------------- the cases


def test_cases_are_told_apart_and_name_peers_that_exist() -> None:
    groups = cases.groups()
    names = [case.name for group in groups for case in group.cases]
    assert len(set(names)) == len(names)
    assert {"fused", "square", "small", "linear"} <= {group.name for group in groups}
    for group in groups:
        assert group.peers[0] == OURS
        assert set(group.peers) <= set(peers.PEERS)
        assert any(case.quick for case in group.cases)
        for bar in group.bars:
            assert set(bar.rivals) <= set(group.peers)
            assert set(bar.only) <= {case.name for case in group.cases}


def test_a_groups_name_stands_for_that_group_alone() -> None:
    every = cases.groups()
    (int8,) = (group for group in every if group.name == "int8")
    assert wanted(every, ["int8"], quick=False) == [(int8, list(int8.cases))]
    named = {g.name for g, _ in wanted(every, ["512x384x1536"], quick=True)}
    assert named == {"int8", "linear"}
    assert {g.name for g, _ in wanted(every, ["square", "softmax"], False)} == {
        "square",
        "fused",
    }


def test_a_floor_is_of_yardsticks_that_are_there() -> None:
    for group in cases.groups():
        for name in (n for part in group.floor for n in part):
            assert name in group.peers and peers.PEERS[name].yardstick


def test_a_program_is_judged_against_float64() -> None:
    (group,) = (g for g in cases.groups() if g.name == "fused")
    assert [case.name for case in group.cases] == list(programs.PROGRAMS)
    case = next(c for c in group.cases if c.name == "polynomial root")
    inputs = programs.PROGRAMS[case.name].inputs(1024, np.float32, 0)
    right = programs.PROGRAMS[case.name].function(*inputs)
    judge = case.judge(inputs)
    assert judge([right]) == ""
    assert "differs" in judge([right * np.float32(1.01)])
    assert "float64" in judge([right.astype(np.float64)])
    assert "2 outputs" in judge([right, right])


def test_plain_numba_has_every_program() -> None:
    from peers import numba_programs

    assert set(numba_programs.LOOPS) == set(programs.PROGRAMS)


def test_notes_are_about_cases_that_exist() -> None:
    known = {group.name: {"", *(c.name for c in group.cases)} for group in cases.groups()}
    for group, notes in NOTES.items():
        assert group not in known or set(notes) <= known[group]


# ------------------------------------------------------------------------------- peers and turns


def test_what_is_wrong_absent_or_broken_is_said_and_the_others_are_timed(turns: Turns) -> None:
    names = [OURS, "NumPy", "missing", *NAMES[:6]]
    result = turns.hold(small(), names)
    seen = {name: (o.status, bool(o.seconds)) for name, o in result.outcomes.items()}
    assert seen == {
        OURS: ("ok", True),
        "NumPy": ("ok", True),
        "honest": ("ok", True),
        "liar": ("wrong", False),
        "narrow": ("wrong", False),
        "raiser": ("failed", False),
        "unable": ("absent", False),
        "crasher": ("failed", False),
        "missing": ("absent", False),
    }
    why = {name: o.reason for name, o in result.outcomes.items()}
    assert "value" in why["liar"] and "dtype" in why["narrow"]
    assert "no such product" in why["raiser"] and why["unable"] == "only takes integers"
    assert "ended" in why["crasher"] and "pip install no-such-library" in why["missing"]
    assert len(result.outcomes[OURS].seconds) == len(result.outcomes["NumPy"].seconds) == 6
    assert result.bytes_moved == 3 * 64 * 4


def test_a_peer_that_dies_in_its_turn_is_lost_and_comes_back(turns: Turns) -> None:
    result = turns.hold(small(), ["honest", "dying"])
    assert result.outcomes["dying"].status == "failed"
    assert not result.outcomes["dying"].seconds
    assert len(result.outcomes["honest"].seconds) == 6
    assert turns.hold(small(), ["dying"]).outcomes["dying"].version == "1.0"


def test_peers_take_turns_as_alternatives_of_a_race_do(
    turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, asked, really = ["honest", "NumPy", OURS], [], turns._ask

    def ask(name: str, outcome: Outcome, do: str, **given: Any) -> dict[str, Any]:
        asked.extend([name] if do == "time" else [])
        return really(name, outcome, do, **given)

    monkeypatch.setattr(turns, "_ask", ask)
    monkeypatch.setattr(sys.modules["turns"], "_FAR", float("inf"))  # each is in every round
    turns.hold(small(), names)
    assert asked == [name for number in range(6) for name in in_turn(names, number)]


def test_peers_are_prepared_side_by_side(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["turns"].threads, "usable_cpus", lambda: 2)
    turns = Turns(setting, SHORT)
    try:
        outcomes = turns.hold(small(), ["first", "second"]).outcomes
    finally:
        turns.close()
    assert {name: o.status for name, o in outcomes.items()} == {"first": "ok", "second": "ok"}


@POSIX
def test_an_interrupt_keeps_whole_rounds(turns: Turns) -> None:
    # A shell makes what it starts in the background deaf to interrupts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = turns.hold(small(), ["honest", "interrupting"])
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.stopped == "interrupted"
    taken = {len(outcome.seconds) for outcome in result.outcomes.values()}
    assert len(taken) == 1 and taken != {6}


@POSIX
def test_a_process_sleeps_between_its_turns_and_ends_when_told(setting: Setting) -> None:
    process = PeerProcess("planted", "honest", sys.executable, setting)
    assert process.ask("start", 30.0) == {"version": "1.0"}
    inside = psutil.Process(process._process.pid)
    deadline = time.monotonic() + 5
    while inside.status() != psutil.STATUS_STOPPED and time.monotonic() < deadline:
        time.sleep(0.01)
    assert inside.status() == psutil.STATUS_STOPPED
    process.end()
    assert not process.alive


HARNESS = """
import os, sys, tempfile
from pathlib import Path
from process import PeerProcess, Setting
process = PeerProcess("planted", "honest", sys.executable, Setting(1, Path(sys.argv[1])))
process.ask("start", 30.0)
print(process._process.pid, flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone can tell a stopped process")
def test_a_sleeping_process_does_not_outlive_a_killed_harness(setting: Setting) -> None:
    paths = os.pathsep.join((str(BENCHMARKS), os.environ["PYTHONPATH"]))
    killed = subprocess.run(
        [sys.executable, "-c", HARNESS, str(setting.folder)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    inside = int(killed.stdout)
    deadline = time.monotonic() + 5
    while psutil.pid_exists(inside) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert killed.returncode == -9 and not psutil.pid_exists(inside)


def test_a_peer_that_does_not_answer_is_ended(setting: Setting) -> None:
    (setting.folder / "slow.py").write_text("import time\ndef start(n): time.sleep(60)\n")
    process = PeerProcess("slow", "", sys.executable, setting)
    with pytest.raises(PeerFailed, match="no answer to 'start'"):
        process.ask("start", 0.5)
    assert not process.alive


# -------------------------------------------------------------------------------- a run's steps


def test_parts_are_as_far_as_each_other_wherever_a_run_ends() -> None:
    def some(part: str, quick: int, rest: int) -> list[steps.Step]:
        made = [steps.Step(part, print, i >= rest) for i in range(quick + rest)]
        assert [s.quick for s in made] == [False] * rest + [True] * quick
        return made

    ordered = steps.evenly([some("long", 1, 7), some("short", 1, 1), some("alone", 0, 2)])
    assert [s.part for s in ordered[:2]] == ["long", "short"] and ordered[1].quick
    assert [s.part for s in ordered[2:]] == [
        *("long", "long", "long", "alone", "long"),
        *("long", "long", "long", "short", "alone"),
    ]


def test_no_step_is_begun_that_would_end_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    now, done = [100.0], []
    monkeypatch.setattr(steps.time, "perf_counter", lambda: now[0])

    def step(part: str, seconds: float) -> steps.Step:
        def do() -> None:
            now[0] += seconds
            done.append(part)

        return steps.Step(part, do)

    every = [step("a", 4), step("b", 1), step("a", 4), step("a", 4), step("b", 1), step("b", 1)]
    assert steps.run(every, 15) == {"a": 1} and done == ["a", "b", "a", "b", "b"]
    done.clear()
    assert not steps.run(every, float("inf")) and len(done) == 6


@pytest.fixture(scope="module")
def command() -> Any:
    """Return the module that `python benchmarks` runs."""
    spec = importlib.util.spec_from_file_location("command", BENCHMARKS / "__main__.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def asked_for(command: Any, monkeypatch: pytest.MonkeyPatch, *words: str) -> Any:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *words])
    return command._arguments()


@pytest.mark.parametrize(
    ("words", "minutes"),
    [
        ((), 15),
        (("--quick",), 2),
        (("square",), 0),
        (("--publish",), 0),
        (("square", "--minutes", "3"), 3),
        (("--minutes", "0"), 0),
    ],
)
def test_only_a_run_of_everything_is_limited_unasked(
    words: tuple[str, ...], minutes: float, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert asked_for(command, monkeypatch, *words).minutes == minutes


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--minutes", "-1"), "not be negative"), (("--minutes", "5", "--publish"), "whole groups")],
)
def test_minutes_that_can_not_be_kept_are_refused(
    words: tuple[str, ...],
    said: str,
    command: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        asked_for(command, monkeypatch, *words)
    assert said in capsys.readouterr().err


def test_a_run_keeps_groups_in_order_and_counts_what_it_leaves_out(
    setting: Setting, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--threads", "1", "--quick", "--json", str(setting.folder / "r.json"))
    made = [dataclasses.replace(small(), name=name) for name in ("a", "b", "c")]
    peers_here = (OURS, "NumPy")
    late = Group("late", "Late", tuple(made[:2]), peers_here, (Bar("NumPy", 0.0),), 2)
    soon = Group("soon", "Soon", tuple(made[2:]), peers_here, (), 1)
    chosen = [(late, [made[1], made[0]]), (soon, [made[2]])]
    session = command.Session(asked_for(command, monkeypatch, *words, "--minutes", "0"))
    session.run(chosen, with_house=False)
    data = results.read(setting.folder / "r.json")
    names = [[case["name"] for case in group["cases"]] for group in data["groups"]]
    assert names == [["c"], ["a", "b"]]
    assert [bar.case for bar in session.bars()] == ["a", "b"]
    assert not session.wrong() and not session.left_out
    session = command.Session(asked_for(command, monkeypatch, *words, "--minutes", "1e-9"))
    session.run(chosen, with_house=False)
    assert session.left_out == {"late": 2, "soon": 1} and not list(session.bars())


# ------------------------------------------------------------------------------- bars and results


def outcome(*seconds: float, **changes: Any) -> Outcome:
    return dataclasses.replace(Outcome("ok", seconds=list(seconds)), **changes)


def group_of(*bars: Bar, size: int = 2) -> Group:
    made = tuple(dataclasses.replace(small(), name=f"case {i}") for i in range(size))
    return Group("things", "Some Things", made, (OURS, "NumPy", "PyTorch", "copy"), bars, 1)


def measured(group: Group, *theirs: tuple[float, float]) -> list[tuple[Case, Result]]:
    """Return results in which ours takes 1 s, NumPy and PyTorch what is given, a copy 0.5 s."""
    found = []
    for case, (numpy, pytorch) in zip(group.cases, theirs, strict=False):
        outcomes = {
            OURS: outcome(*[1.0] * 7),
            "NumPy": outcome(*[numpy] * 7, preallocated=False),
            "PyTorch": outcome(*[pytorch] * 7),
            "copy": outcome(*[0.5] * 7),
        }
        found.append((case, Result(outcomes, 100)))
    return found


def held(bar: Bar, *theirs: tuple[float, float]) -> list[bool | None]:
    group = group_of(bar)
    return [told.held for told in results.bars(group, measured(group, *theirs))]


def test_a_bar_is_about_the_best_rival() -> None:
    assert held(Bar("the best", 1.5), (2.0, 3.0), (2.0, 1.4)) == [True, False]
    assert held(Bar("NumPy", 1.5, ("NumPy",)), (2.0, 3.0), (2.0, 1.4)) == [True, True]
    assert held(Bar("copy", 0.6, ("copy",)), (2.0, 3.0), (2.0, 3.0)) == [False, False]
    assert held(Bar("one", 1.5, only=("case 1",)), (1.0, 1.0), (2.0, 2.0)) == [True]


def test_a_mean_bar_needs_every_case() -> None:
    mean = Bar("mean", 1.9, each=False)
    assert held(mean, (1.0, 9.0), (4.0, 9.0)) == [True]
    assert held(mean, (1.0, 9.0), (3.0, 9.0)) == [False]
    assert held(mean, (9.0, 9.0)) == [None]


def test_what_was_not_measured_is_open() -> None:
    group = group_of(Bar("PyTorch", 1.0, ("PyTorch",)))
    ((case, result), *_) = measured(group, (2.0, 2.0))
    result.outcomes["PyTorch"] = Outcome("absent", "not installed")
    (told,) = results.bars(group, [(case, result)])
    assert told.held is None and told.measured == "not measured"


def data_of(group: Group, pairs: Sequence[tuple[Case, Result]], **changes: Any) -> dict[str, Any]:
    told = results.Held("house", "start", "< 1 s", "0.5 s", True)
    made = results.whole([results.group_data(group, pairs)], [told], False, 1)
    return {**made, **changes}


def test_results_are_read_back_and_others_refused(tmp_path: Path) -> None:
    group = group_of(Bar("the best", 1.5))
    data = data_of(group, measured(group, (2.0, 3.0), (2.0, 1.4)))
    path = results.write(data, tmp_path / "r.json")
    assert results.read(path) == json.loads(json.dumps(data))
    results.write({**data, "schema": "tinytorch.benchmarks/0"}, path)
    with pytest.raises(InvalidValue, match="run `make bench` again"):
        results.read(path)


# ---------------------------------------------------------------------------------------- the page


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(page, "KEPT", tmp_path / "results")
    monkeypatch.setattr(page, "CHARTS", tmp_path / "charts")
    return tmp_path


def test_the_page_shows_losses_absences_and_allocations(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "make bench" in page.groups() and page.machine() == ""
    group = group_of(Bar("the best", 1.5), Bar("mean", 1.9, each=False))
    pairs = measured(group, (2.0, 3.0), (2.0, 1.4))
    pairs[0][1].outcomes["PyTorch"] = Outcome("wrong", "value: far off")
    page.publish(data_of(group, pairs))
    shown = page.groups()
    assert "| case 0 | 1.00 s | 0 GFLOP/s | 2.00 s (a) | wrong | 500 ms | 2.00x" in shown.replace(
        "1.02e-06", "0"
    )
    assert "| case 1 | 1.00 s" in shown and "| **missed** |" in shown
    assert "- PyTorch, case 0: wrong: value: far off" in shown
    assert "**missed**, held by 1 of 2 cases" in shown
    assert "[Some Things](#some-things) | 2 | 1.67x | 2 of 2 | 1 of 3" in page.summary()
    assert page.house().endswith("| start | < 1 s | 0.5 s | held |")
    monkeypatch.setattr(page, "NOTES", {"house": {"start": "It starts.", "end": "It ends."}})
    assert page.house().endswith("| held |\n\n- start: It starts.")
    assert (kept / "charts" / "things.png").stat().st_size > 1000


def test_the_page_holds_the_best_peer_against_the_floor(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The floor is the longer of what moving takes, by the faster way, and of computing."""
    floor = (("copy", "other copy"), ("computing",))
    group = dataclasses.replace(group_of(), floor=floor)
    pairs = measured(group, (2.0, 3.0), (3.0, 2.0))
    for (_, result), computing in zip(pairs, (0.25, 0.8), strict=True):
        result.outcomes |= {"other copy": outcome(*[0.4] * 7)}
        result.outcomes |= {"computing": outcome(*[computing] * 7)}
    made = {n: Peer(n, "planted", "planted", yardstick=True) for n in ("other copy", "computing")}
    monkeypatch.setattr(page, "PEERS", {**peers.PEERS, **made})
    page.publish(data_of(group, pairs))
    shown = page.groups()
    assert "| best peer / floor |" in shown
    assert "2.00x (2.00 .. 2.00), NumPy | 5.00x |" in shown  # a copy takes longer than computing
    assert "2.00x (2.00 .. 2.00), PyTorch | 2.50x |" in shown
    assert "floor (copy or other copy, or computing, whichever takes longer)" in shown
    assert "the best peer takes 3.54 times as long, ours 1.77 times (geometric means)" in shown
    pairs[1][1].outcomes["computing"] = Outcome("absent", "no rows fit")
    page.publish(data_of(group, pairs))
    assert "the best peer takes 5.00 times as long, ours 2.50 times" in page.groups()


@pytest.mark.parametrize(
    ("each", "expected"),
    [(True, ["", ", 1 out of reach", ", 2 out of reach"]), (False, ["", "", ", and out of reach"])],
)
def test_a_bar_is_out_of_reach_where_the_floor_would_miss_it(
    each: bool, expected: list[str], kept: Path
) -> None:
    bar = Bar("the best", 4.0, each=each)
    group = dataclasses.replace(group_of(bar), floor=(("copy",),))
    pairs = measured(group, (2.0, 3.0), (4.0, 3.0))
    for seconds, limit in zip((0.4, 0.6, 1.2), expected, strict=True):
        for _, result in pairs:
            result.outcomes |= {"copy": outcome(*[seconds] * 7)}
        page.publish(data_of(group, pairs))
        end = page.groups().splitlines()[2].partition("**missed**")[2]
        assert end.removeprefix(", held by 0 of 2 cases").partition(":")[0] == limit


def test_only_whole_runs_are_published_and_groups_are_kept(kept: Path) -> None:
    group = group_of(Bar("the best", 1.5))
    pairs = measured(group, (2.0, 3.0), (2.0, 1.4))
    with pytest.raises(InvalidValue, match="quick"):
        page.publish(data_of(group, pairs, quick=True))
    with pytest.raises(InvalidValue, match="in part"):
        page.publish(data_of(group, pairs[:1]))
    page.publish(data_of(group, pairs))
    other = dataclasses.replace(group, name="others", order=0)
    page.publish(data_of(other, pairs, house=[]))
    (data,) = page._kept()
    assert [g["name"] for g in data["groups"]] == ["others", "things"] and data["house"]
    (place,) = page.KEPT.iterdir()
    page.publish({**data_of(other, pairs), "environment": {"fingerprint": "a newer BLAS"}})
    assert [g["name"] for g in results.read(place)["groups"]] == ["others"]


def test_each_kind_of_machine_keeps_its_results(kept: Path) -> None:
    group = group_of(Bar("the best", 1.5))
    pairs = measured(group, (2.0, 3.0), (2.0, 1.4))
    assert "None yet" in page.others()
    page.publish(data_of(group, pairs))
    more = dataclasses.replace(group, name="others", title="Other Things", order=0)
    page.publish(data_of(more, pairs, house=[]))
    found = data_of(group, measured(group, (6.0, 7.0), (6.0, 7.0)))
    page.publish({**found, "machine": {**found["machine"], "llvm_cpu": "another"}})
    assert len(list(page.KEPT.iterdir())) == 2
    assert "Other Things" in page.summary() and "another" not in page.machine()
    shown = page.others()
    assert "another" in shown and "Other Things" not in shown
    assert ">= 1.50x the best: held by 2 of 2 cases" in shown
    assert "| case 0 | 1.00 s | NumPy | 6.00x (6.00 .. 6.00) |" in shown
    assert "| start | < 1 s | 0.5 s | held |" in shown
