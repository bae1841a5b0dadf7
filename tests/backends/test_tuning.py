from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinytorch import kernels, native, ops
from tinytorch.backends import tuner, tuning
from tinytorch.backends.auto import AutoBackend
from tinytorch.backends.tuning import SCHEMA, Entry, Key, Table, bucket_of, key_for, layout_of
from tinytorch.errors import MeasurementError
from tinytorch.kernels import registry
from tinytorch.kernels.registry import Kernel
from tinytorch.measure.clock import Effort
from tinytorch.measure.sample import Environment, Measurement
from tinytorch.native import threads
from tinytorch.ops.spec import Array

A, B = ops.get("matmul").inputs(((8, 8), (8, 8)))
KEY = key_for("matmul", (A, B), {})
ENTRY = Entry(
    key=KEY,
    kernel="tiled",
    default="library",
    seconds={"library": 2e-6, "tiled": 1e-6},
    ratio_low=1.9,
    ratio_median=2.0,
    ratio_high=2.1,
    shapes=((8, 8), (8, 8)),
    tuned_at="2025-02-03T04:05:06+00:00",
)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    return Table(tmp_path / "tuning")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuner, "EFFORT", Effort(seconds=0.02, min_rounds=6, sample_seconds=1e-5))
    monkeypatch.setattr(tuner, "_glance", lambda call: call() is None or 1e-6)


# Keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "bucket"),
    [
        ((100, 64), "128x64"),
        ((1, 65), "1x128"),
        ((0, 3), "0x4"),
        ((), "scalar"),
        ((1024,), "1024"),
        ((1025,), "2048"),
    ],
)
def test_buckets_round_up_to_powers_of_two(shape: tuple[int, ...], bucket: str) -> None:
    assert bucket_of(shape) == bucket


def test_layouts() -> None:
    x = np.ones((4, 6))
    assert [layout_of(a) for a in (x, x.T, x[::2, ::2], x[::-1], x[0])] == list("CFSSC")


def test_one_bucket_is_one_key() -> None:
    larger = ops.get("matmul").inputs(((7, 5), (5, 8)))
    assert key_for("matmul", larger, {}) == KEY
    assert key_for("matmul", larger, {}).digest() == KEY.digest()


def test_each_part_of_a_key_tells_entries_apart() -> None:
    changed = {
        key_for("matmul", (A.T, B), {}),
        key_for("matmul", (A.astype(np.float64), B.astype(np.float64)), {}),
        key_for("matmul", (A.astype(np.float64), B), {}),
        key_for("matmul", (A, B.astype(np.float64)), {}),
        key_for("matmul", (np.ones((9, 8), np.float32), B), {}),
        key_for("add", (A, B), {}),
        replace(KEY, fingerprint="another machine"),
        replace(KEY, threads=KEY.threads + 1),
        replace(KEY, sources="another version"),
    }
    assert KEY not in changed
    assert len({key.digest() for key in changed} | {KEY.digest()}) == len(changed) + 1


def test_a_default_parameter_is_the_same_said_or_not() -> None:
    x = (A,)
    said = key_for("gelu", x, {"approximate": "tanh"})
    assert key_for("gelu", x, {}) == said
    assert key_for("gelu", x, {"approximate": "none"}) != said


def test_a_key_knows_the_threads() -> None:
    assert KEY.threads == threads.get_num_threads()
    with threads.use_threads(1):
        assert key_for("matmul", (A, B), {}).threads == 1


def test_a_key_knows_the_sources_of_its_ops_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert KEY.sources == tuning._sources("matmul") != tuning._sources("gelu")
    for name in ("kernels/matmul", "kernels/gelu", "native"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "some.py").write_text("x = 1")
    monkeypatch.setattr(kernels, "__file__", str(tmp_path / "kernels" / "__init__.py"))
    monkeypatch.setattr(native, "__file__", str(tmp_path / "native" / "__init__.py"))
    sources = tuning._sources.__wrapped__
    before = sources("matmul")
    (tmp_path / "kernels/gelu/some.py").write_text("x = 2")
    assert sources("matmul") == before
    for name in ("kernels/matmul", "native", "kernels"):
        (tmp_path / name / "some.py").write_text(f"x = 3  # {name}")
        assert sources("matmul") != before
        before = sources("matmul")


def test_looking_up_does_not_load_numba(tmp_path: Path) -> None:
    (tmp_path / "tuning").mkdir()
    program = (
        "import sys, numpy as np\n"
        "import tinytorch\n"
        "x = np.ones((8, 8), np.float32)\n"
        "tinytorch.get_backend().dispatch('matmul', x, x)\n"
        "assert tinytorch.get_backend().table.may_have_entries()\n"
        "sys.exit('numba' in sys.modules)\n"
    )
    environment = os.environ | {"TINYTORCH_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, check=False)
    assert done.returncode == 0


# The table ------------------------------------------------------------------------------------


def test_an_entry_survives_its_process(table: Table) -> None:
    assert table.get(KEY) is None
    assert not table.may_have_entries() or not table.folder.exists()
    table.put(ENTRY)
    assert table.get(KEY) == ENTRY
    again = Table(table.folder)
    assert again.may_have_entries()
    assert again.get(KEY) == ENTRY
    assert list(again.entries()) == [ENTRY]
    assert [p.suffix for p in table.folder.iterdir()] == [".json"]


def test_entries_of_other_machines_are_listed_and_not_used(table: Table) -> None:
    other = replace(ENTRY, key=replace(KEY, fingerprint="another machine"))
    table.put(other)
    again = Table(table.folder)
    assert again.get(KEY) is None
    assert list(again.entries()) == [other]


def test_clear_forgets_all(table: Table) -> None:
    table.put(ENTRY)
    table.put(replace(ENTRY, key=replace(KEY, threads=99)))
    assert table.clear() == 2
    assert table.get(KEY) is None
    assert list(table.entries()) == []
    assert table.clear() == 0


# What auto does with it -----------------------------------------------------------------------


def test_auto_uses_the_entry(table: Table) -> None:
    table.put(ENTRY)
    auto = AutoBackend(table)
    assert auto.choose("matmul", (A, B), {}).name == "tiled"
    assert auto.choose("matmul", (A.T, B), {}).name == "library"  # never tuned
    assert np.allclose(auto.dispatch("matmul", A, B), A @ B, atol=1e-4)


@pytest.mark.parametrize("part", [{"threads": KEY.threads + 1}, {"sources": "0" * 16}])
def test_an_entry_for_other_threads_or_sources_is_a_miss(
    table: Table, part: dict[str, Any]
) -> None:
    table.put(replace(ENTRY, key=replace(KEY, **part)))
    assert AutoBackend(table).choose("matmul", (A, B), {}).name == "library"


@pytest.mark.skipif(threads.usable_cpus() == 1, reason="there is one CPU to share")
def test_another_number_of_threads_is_another_choice_at_once(table: Table) -> None:
    table.put(replace(ENTRY, key=replace(KEY, threads=1)))
    auto = AutoBackend(table)
    ran: list[str] = []
    choose = auto.choose
    auto.choose = lambda *call: ran.append(choose(*call).name) or choose(*call)  # type: ignore[method-assign]
    auto.dispatch("matmul", A, B)
    with threads.use_threads(1):
        auto.dispatch("matmul", A, B)
    auto.dispatch("matmul", A, B)
    assert ran == ["library", "tiled"]


@pytest.mark.parametrize("kernel", ["a kernel of another version", "", None, ["tiled"]])
def test_an_entry_for_a_kernel_that_is_gone_is_passed_over(table: Table, kernel: Any) -> None:
    table.put(replace(ENTRY, kernel=kernel))
    auto = AutoBackend(Table(table.folder))
    assert auto.choose("matmul", (A, B), {}).name == "library"


def test_an_entry_for_a_kernel_that_refuses_is_passed_over(table: Table) -> None:
    # One bucket, but a broadcast: 5 and 6 elements round up to 8, 1 does not matter here.
    x, y = np.ones((5, 6), np.float32), np.ones((6, 6), np.float32)[:1]
    table.put(replace(ENTRY, key=key_for("add", (x, y), {}), kernel="compiled"))
    assert AutoBackend(table).choose("add", (x, y), {}).name == "inplace"


# Files that can't be used ---------------------------------------------------------------------


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def of_another_key(path: Path) -> None:
    data = json.loads(path.read_text())
    data["key"]["threads"] += 1
    path.write_text(json.dumps(data))


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def rewritten(**changes: Any) -> Any:
    def rewrite(path: Path) -> None:
        data = {**json.loads(path.read_text()), **changes}
        path.write_text(json.dumps({k: v for k, v in data.items() if v is not ...}))

    return rewrite


SPOILT = {
    "truncated": truncated,
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(bytes(range(256)) * 4),
    "words": lambda path: path.write_text("not JSON"),
    "deep": lambda path: path.write_text("[" * 100_000),
    "a number": lambda path: path.write_text("3"),
    "a list": lambda path: path.write_text("[1, 2]"),
    "foreign": lambda path: path.write_text('{"schema": "pyperf", "benchmarks": []}'),
    "of another version": rewritten(schema="tinytorch.tuning/999"),
    "without a schema": rewritten(schema=...),
    "without a kernel": rewritten(kernel=...),
    "with more": rewritten(more=1),
    "with a wrong key": rewritten(key={"op": "matmul"}),
    "without shapes": rewritten(shapes=None),
    "of another key": of_another_key,
    "a folder": a_folder,
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_spoilt_entry_is_a_working_run_with_one_warning(table: Table, how: str) -> None:
    table.put(ENTRY)
    SPOILT[how](table.path(KEY))
    auto = AutoBackend(Table(table.folder))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for x in (A, A.T, A + 1):
            assert np.array_equal(auto.dispatch("matmul", x, B), x @ B)
        list(auto.table.entries())
    assert len(seen) == 1
    assert seen[0].category is RuntimeWarning
    assert str(table.path(KEY)) in str(seen[0].message)
    assert "\n" not in str(seen[0].message)


def test_a_spoilt_entry_does_not_hide_the_others(table: Table) -> None:
    other = replace(ENTRY, key=replace(KEY, threads=99))
    table.put(ENTRY)
    table.put(other)
    truncated(table.path(KEY))
    with pytest.warns(RuntimeWarning, match="can't be used"):
        assert list(Table(table.folder).entries()) == [other]


def test_an_entry_under_another_name_is_not_believed(table: Table) -> None:
    table.put(ENTRY)
    table.path(KEY).rename(table.folder / f"{replace(KEY, threads=99).digest()}.json")
    with pytest.warns(RuntimeWarning, match="another key than its name says"):
        assert list(Table(table.folder).entries()) == []


def test_a_table_that_can_not_be_written_warns_once_and_holds_for_the_process(
    tmp_path: Path, quick: None
) -> None:
    # A file where a folder should be: root, too, is refused there.
    (tmp_path / "file").write_text("in the way")
    auto = AutoBackend(Table(tmp_path / "file" / "tuning"))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        entry = tuner.tune_call(auto, "matmul", (A, B), {})
        tuner.tune_call(auto, "multiply", (A, B), {})
        assert np.allclose(auto.dispatch("matmul", A, B), A @ B, atol=1e-4)
    assert auto.table.get(KEY) == entry
    assert [w.category for w in seen] == [RuntimeWarning]
    assert "TINYTORCH_CACHE_DIR" in str(seen[0].message)


def test_a_folder_that_can_not_be_looked_at_is_a_working_run_with_one_warning(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*args: Any, **keywords: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_dir", closed)
    monkeypatch.setattr(Path, "read_text", closed)
    auto = AutoBackend(table)
    with pytest.warns(RuntimeWarning, match="Permission denied") as seen:
        for x in (A, A.T):
            assert np.array_equal(auto.dispatch("matmul", x, B), x @ B)
    assert len(seen) == 1


def test_a_failed_write_leaves_nothing_behind(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    table.put(ENTRY)

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.warns(RuntimeWarning, match="No space left"):
        table.put(replace(ENTRY, kernel="library"))
    assert [p.name for p in table.folder.iterdir()] == [table.path(KEY).name]
    assert Table(table.folder).get(KEY) == ENTRY


# Several processes ----------------------------------------------------------------------------

TUNES = """
import sys
import numpy as np
from tinytorch.backends import tuner
from tinytorch.backends.auto import AutoBackend
from tinytorch.measure.clock import Effort
tuner.EFFORT = Effort(seconds=0.01, min_rounds=3, max_rounds=3, sample_seconds=1e-5)
tuner._glance = lambda call: call() is None or 1e-6
for n in map(int, sys.argv[1:]):
    x = np.ones(n, np.float32)
    tuner.tune_call(AutoBackend(), "multiply", (x, x), {})
"""


def start(program: str, *arguments: str, cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        env=os.environ | {"TINYTORCH_CACHE_DIR": str(cache)},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_that_tune_at_once_lose_nothing(tmp_path: Path) -> None:
    # Compiled code is found where the tests keep theirs; the tuning table is a new one.
    (tmp_path / "numba").symlink_to(Path(os.environ["TINYTORCH_CACHE_DIR"]) / "numba")
    common, first, second = ["64"], ["1", "4", "16"], ["2", "8", "32"]
    both = [start(TUNES, *common, *own, cache=tmp_path) for own in (first, second)]
    for process in both:
        assert process.communicate(timeout=120)[1] == ""
        assert process.returncode == 0
    found = list(Table(tmp_path / "tuning").entries())
    assert {e.key.bucket for e in found} == {f"{n} {n}" for n in (1, 2, 4, 8, 16, 32, 64)}
    assert not list((tmp_path / "tuning").glob("*.tmp"))


WRITES = """
import sys
from dataclasses import replace
from pathlib import Path
from tinytorch.backends.tuning import Entry, Key, Table
table = Table(Path(sys.argv[1]))
key = Key("machine", 1, "matmul", "float32", "CC", "8x8 8x8", "", "sources")
rungs = {f"rung {i}": i / 7 for i in range(5000)}
entry = Entry(key, "rung 1", "rung 0", rungs, 1.0, 1.0, 1.0, ((8, 8),), "now")
while True:
    table.put(entry)
"""
WRITTEN = Key("machine", 1, "matmul", "float32", "CC", "8x8 8x8", "", "sources")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 on this system")
def test_a_killed_writer_never_leaves_half_an_entry(table: Table) -> None:
    path = table.path(WRITTEN)
    readings = 0
    for _ in range(3):
        writer = start(WRITES, str(table.folder), cache=table.folder)
        deadline = time.monotonic() + 60
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        until = time.monotonic() + 0.15
        while time.monotonic() < until:
            entry = Table(table.folder).get(WRITTEN)  # a warning would be an error
            assert entry is not None and len(entry.seconds) == 5000
            readings += 1
        writer.kill()
        writer.communicate()
        assert Table(table.folder).get(WRITTEN) is not None
        assert len(list(Table(table.folder).entries())) == 1
    assert readings > 3


# The tuner ------------------------------------------------------------------------------------


def planted(name: str, function: Any, **options: Any) -> Kernel:
    return Kernel(op="matmul", name=name, function=function, **options)


def add_rung(monkeypatch: pytest.MonkeyPatch, *rungs: Kernel) -> None:
    ladder = registry.ladder("matmul")
    monkeypatch.setattr(registry, "ladder", lambda op: (*ladder, *rungs))


def a_race_of(medians: Mapping[str, list[float]]) -> Any:
    """Stand in for the clock: what each kernel's samples shall be, in units of the default's."""

    def race(calls: Mapping[str, Any], **keywords: Any) -> dict[str, Measurement]:
        here = Environment.now()
        return {
            name: Measurement(
                name, tuple(medians.get(name, [5.0] * 9)), 1, 1, 1.0, "hot", "interval", here
            )
            for name in calls
        }

    return race


def test_a_decision_comes_with_its_evidence(table: Table, quick: None) -> None:
    entry = tuner.tune_call(AutoBackend(table), "matmul", (A, B), {})
    assert entry.key == KEY
    assert entry.default == "library"
    assert {"library", "tiled", "parallel", "compiled", "blocked"} <= set(entry.seconds)
    assert entry.kernel in entry.seconds
    assert entry.ratio_low <= entry.ratio_median <= entry.ratio_high
    assert entry.shapes == ((8, 8), (8, 8))
    assert Table(table.folder).get(KEY) == entry


def test_interpreted_rungs_are_no_candidates_where_others_are() -> None:
    names = [rung.name for rung in tuner.candidates("matmul", (A, B))]
    assert "naive" not in names and "rows" not in names and "library" in names
    refusing = A.astype(np.float16)  # but for naive, blocked and the library
    assert all(not r.interpreted for r in tuner.candidates("matmul", (refusing, refusing)))
    only_naive = [r.name for r in tuner.candidates("dot", (A, B)) if r.interpreted]
    assert only_naive == []


def test_the_default_is_always_a_candidate(
    table: Table, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    raced: list[str] = []
    real = a_race_of({})

    def race(calls: Mapping[str, Any], **keywords: Any) -> Any:
        raced.extend(calls)
        return real(calls)

    # A first look in which the default is hopeless.
    monkeypatch.setattr(tuner, "_glance", lambda call: 9.0 if call.func is LIBRARY else 1.0)
    monkeypatch.setattr(tuner, "race", race)
    entry = tuner.tune_call(AutoBackend(table), "matmul", (A, B), {})
    assert raced[0] == "library"
    assert entry.kernel == "library"  # as fast as the others in the race itself


LIBRARY = registry.get("matmul", "library").function


def test_hopeless_kernels_are_not_raced(
    table: Table, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    raced: list[str] = []
    real = a_race_of({})
    monkeypatch.setattr(tuner, "_glance", lambda call: 1.0 if call.func is LIBRARY else 2.1)
    monkeypatch.setattr(tuner, "race", lambda calls, **k: raced.extend(calls) or real(calls))
    entry = tuner.tune_call(AutoBackend(table), "matmul", (A, B), {})
    assert raced == ["library"]
    assert entry.seconds["tiled"] == 2.1  # what was seen is kept


NOISY = [0.5, 0.5, 0.5, 0.5, 0.5, 1.1, 1.1, 1.1, 1.1]


@pytest.mark.parametrize(
    ("samples", "chosen"),
    [
        ({"library": [1.0] * 9, "tiled": [0.9] * 9}, "tiled"),
        ({"library": [1.0] * 9, "tiled": [1.1] * 9}, "library"),
        ({"library": [1.0] * 9, "tiled": NOISY}, "library"),  # the best median, and no proof
        ({"library": [1.0] * 9, "tiled": NOISY, "compiled": [0.8] * 9}, "compiled"),
        ({"library": [1.0] * 9, "tiled": [0.9] * 9, "compiled": [0.8] * 9}, "compiled"),
    ],
)
def test_a_kernel_replaces_the_default_only_when_proven_faster(
    table: Table,
    quick: None,
    monkeypatch: pytest.MonkeyPatch,
    samples: dict[str, list[float]],
    chosen: str,
) -> None:
    monkeypatch.setattr(tuner, "race", a_race_of(samples))
    entry = tuner.tune_call(AutoBackend(table), "matmul", (A, B), {})
    assert entry.kernel == chosen
    assert entry.ratio_median == pytest.approx(1 / np.median(samples[chosen]))


def test_a_wrong_kernel_is_left_out_with_a_warning(
    table: Table, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fast_and_wrong(a: Array, b: Array, out: Array | None = None) -> Array:
        return np.zeros((a.shape[0], b.shape[1]), a.dtype)

    add_rung(monkeypatch, planted("zeros", fast_and_wrong))
    with pytest.warns(RuntimeWarning, match="matmul/zeros is wrong on these inputs"):
        entry = tuner.tune_call(AutoBackend(table), "matmul", (A, B), {})
    assert "zeros" not in entry.seconds


def test_a_kernel_that_fails_is_left_out_with_a_warning(
    table: Table, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(a: Array, b: Array, out: Array | None = None) -> Array:
        raise MemoryError("no room")

    add_rung(monkeypatch, planted("failing", failing))
    with pytest.warns(RuntimeWarning, match="matmul/failing .*MemoryError: no room"):
        entry = tuner.tune_call(AutoBackend(table), "matmul", (A, B), {})
    assert "failing" not in entry.seconds


def test_a_default_that_is_wrong_is_an_error(
    table: Table, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    auto = AutoBackend(table)
    wrong = planted("library", lambda a, b, out=None: a * 0)
    monkeypatch.setattr(auto, "default", lambda *call: replace(wrong, name="gone"))
    with pytest.raises(MeasurementError, match="default kernel matmul/gone"):
        tuner.tune_call(auto, "matmul", (A, B), {})
    assert list(table.entries()) == []


def test_tuning_is_seen_by_calls_made_before(table: Table, quick: None) -> None:
    auto = AutoBackend(table)
    auto.dispatch("matmul", A, B)
    assert auto._chosen
    tuner.tune_call(auto, "matmul", (A, B), {})
    assert not auto._chosen


# On the first call ----------------------------------------------------------------------------


@pytest.fixture
def tuned(monkeypatch: pytest.MonkeyPatch) -> list[Key]:
    """Keep the keys that were tuned, and decide for `tiled` each time."""
    keys: list[Key] = []

    def tune_call(auto: AutoBackend, op: str, arrays: Any, params: Any) -> Entry:
        key = key_for(op, arrays, params)
        keys.append(key)
        auto.table.put(replace(ENTRY, key=key))
        return replace(ENTRY, key=key)

    monkeypatch.setattr(tuner, "tune_call", tune_call)
    return keys


def test_nothing_is_measured_unless_asked(
    table: Table, tuned: list[Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    for unset in (None, "0", ""):
        if unset is not None:
            monkeypatch.setenv("TINYTORCH_TUNE", unset)
        AutoBackend(table).dispatch("matmul", A, B)
    assert tuned == []


def test_the_switch_tunes_each_bucket_once(
    table: Table, tuned: list[Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYTORCH_TUNE", "1")
    auto = AutoBackend(table)
    assert auto.choose("matmul", (A, B), {}).name == "tiled"
    for x in (A, A + 1, np.ones((7, 8), np.float32)):
        auto.dispatch("matmul", x, B)
    assert tuned == [KEY]
    AutoBackend(Table(table.folder)).dispatch("matmul", A, B)  # as another process would
    assert tuned == [KEY]
    auto.dispatch("matmul", A.T, B)
    assert len(tuned) == 2


def test_types_that_can_not_be_judged_are_not_tuned(
    table: Table, tuned: list[Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYTORCH_TUNE", "1")
    for dtype in (np.int64, np.complex64, np.float16, bool):
        x = np.eye(3).astype(dtype)
        assert np.array_equal(AutoBackend(table).dispatch("matmul", x, x), x)
    assert tuned == []


def test_a_call_that_can_not_be_tuned_is_computed_all_the_same(
    table: Table, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tune_call(*call: Any) -> Entry:
        raise MeasurementError("the clock stands still")

    monkeypatch.setenv("TINYTORCH_TUNE", "1")
    monkeypatch.setattr(tuner, "tune_call", tune_call)
    auto = AutoBackend(table)
    with pytest.warns(RuntimeWarning, match="not tuned: the clock stands still"):
        assert np.array_equal(auto.dispatch("matmul", A, B), A @ B)


def test_the_switch_end_to_end(table: Table, quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYTORCH_TUNE", "1")
    auto = AutoBackend(table)
    for _ in range(2):
        assert np.allclose(auto.dispatch("matmul", A, B), A @ B, atol=1e-4)
    assert [e.key for e in table.entries()] == [KEY]
    data = json.loads(table.path(KEY).read_text())
    assert data["schema"] == SCHEMA
    assert data["key"] == asdict(KEY)
