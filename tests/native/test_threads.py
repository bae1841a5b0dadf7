from __future__ import annotations

import math
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tinytorch.errors import InvalidValue
from tinytorch.native import threads

SEVERAL = threads.usable_cpus() > 1
needs_several = pytest.mark.skipif(not SEVERAL, reason="there is one CPU to share")
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")


def python(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh process whose environment says nothing about threads."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMP", "GOMP", "NUMBA"))}
    return subprocess.run(
        [sys.executable, "-c", program],
        env=kept | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )


# How many CPUs --------------------------------------------------------------------------------


def cgroups(root: Path, files: dict[str, str]) -> Path:
    """Make a system's files under `root`: those of /sys/fs/cgroup, and /proc/self/cgroup."""
    for name, text in files.items():
        path = root / ("proc/self" if name == "cgroup" else "sys/fs/cgroup") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("text", "cpus"),
    [
        ("200000 100000\n", 2.0),
        ("150000 100000\n", 1.5),
        ("50000 100000\n", 0.5),
        ("max 100000\n", math.inf),
        ("", math.inf),
        ("garbage\n", math.inf),
        ("1 2 3\n", math.inf),
    ],
)
def test_quota_of_cgroup_v2(tmp_path: Path, text: str, cpus: float) -> None:
    assert threads.cgroup_quota(cgroups(tmp_path, {"cpu.max": text})) == cpus


@pytest.mark.parametrize(("quota", "cpus"), [("300000", 3.0), ("-1", math.inf), ("", math.inf)])
def test_quota_of_cgroup_v1(tmp_path: Path, quota: str, cpus: float) -> None:
    files = {"cpu/cpu.cfs_quota_us": quota + "\n", "cpu/cpu.cfs_period_us": "100000\n"}
    assert threads.cgroup_quota(cgroups(tmp_path, files)) == cpus


def test_no_control_group_is_no_limit(tmp_path: Path) -> None:
    assert threads.cgroup_quota(tmp_path) == math.inf


def test_the_least_of_all_groups_above_counts(tmp_path: Path) -> None:
    files = {
        "cgroup": "0::/jobs/job 7/step: 1\n",
        "cpu.max": "800000 100000",
        "jobs/cpu.max": "300000 100000",
        "jobs/job 7/step: 1/cpu.max": "400000 100000",
        "jobs/job 8/cpu.max": "100000 100000",  # another's
    }
    assert threads.cgroup_quota(cgroups(tmp_path, files)) == 3
    older = {
        "cgroup": "4:cpu,cpuacct:/jobs/7\n5:memory:/else\n",
        "cpu/jobs/7/cpu.cfs_quota_us": "250000",
        "cpu/jobs/7/cpu.cfs_period_us": "100000",
    }
    assert threads.cgroup_quota(cgroups(tmp_path / "older", older)) == 2.5


@pytest.mark.parametrize(
    ("allowed", "quota", "usable"),
    [(8, math.inf, 8), (8, 2.0, 2), (8, 1.5, 2), (8, 0.5, 1), (1, 4.0, 1)],
)
def test_usable_cpus_are_the_affinity_cut_to_the_quota(
    allowed: int, quota: float, usable: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(allowed)), raising=False)
    monkeypatch.setattr(threads, "cgroup_quota", lambda: quota)
    assert threads.usable_cpus.__wrapped__() == usable


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_a_process_bound_to_one_cpu_uses_one() -> None:
    cpu = min(os.sched_getaffinity(0))
    program = (
        f"import os; os.sched_setaffinity(0, {{{cpu}}}); "
        "from tinytorch.native import threads; print(threads.get_num_threads())"
    )
    assert python(program).stdout.strip() == "1"


# Setting them ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, -1, True, 1.0, "2", None, 10**6])
def test_a_count_that_can_not_be_is_refused(count: object) -> None:
    before = threads.get_num_threads()
    with pytest.raises(InvalidValue, match=f"from 1 to {threads.usable_cpus()}"):
        threads.set_num_threads(count)  # type: ignore[arg-type]
    with pytest.raises(InvalidValue), threads.use_threads(count):  # type: ignore[arg-type]
        pass
    assert threads.get_num_threads() == before


def test_setting_reaches_blas_and_numba() -> None:
    numba = pytest.importorskip("numba")
    for count in (1, threads.usable_cpus()):
        threads.set_num_threads(count)
        assert threads.get_num_threads() == count
        assert numba.get_num_threads() == count
        blas = [p for p in threads.pools() if p["internal_api"] == "openblas"]
        assert all(pool["num_threads"] == count for pool in blas)


@needs_several
def test_a_block_restores_what_was_before() -> None:
    before = threads.get_num_threads()
    with threads.use_threads(1):
        assert threads.get_num_threads() == 1
        with threads.use_threads(2):
            assert threads.get_num_threads() == 2
        assert threads.get_num_threads() == 1
    assert threads.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), threads.use_threads(1):
        raise ZeroDivisionError
    assert threads.get_num_threads() == before


COUNTS = (
    "from tinytorch.native import codecache, threads; import numpy as np; np.eye(2) @ np.eye(2); "
    "numba = codecache.numba(); blas = {p['num_threads'] for p in threads.pools() "
    "if p['internal_api'] == 'openblas'}; "
    "print(threads.get_num_threads(), numba.get_num_threads(), *blas)"
)


@needs_several
def test_the_switch_reaches_both_pools() -> None:
    assert set(python(COUNTS, TINYTORCH_NUM_THREADS="1").stdout.split()) == {"1"}
    most = str(threads.usable_cpus())
    assert set(python(COUNTS).stdout.split()) == {most}
    assert set(python(COUNTS, TINYTORCH_NUM_THREADS="100000").stdout.split()) == {most}


@needs_several
def test_a_count_set_before_numba_is_loaded_reaches_it_later() -> None:
    program = f"from tinytorch.native import threads; threads.set_num_threads(1); {COUNTS}"
    assert set(python(program).stdout.split()) == {"1"}


# Living side by side --------------------------------------------------------------------------


def test_idle_workers_are_told_when_to_sleep_before_numba_is_loaded() -> None:
    program = (
        "import os, sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'numba': print('loading with', os.environ.get('OMP_WAIT_POLICY'))\n"
        "sys.meta_path.insert(0, Watch())\n"
        "from tinytorch.kernels import registry\n"
        "for op, name in (('gelu', 'parallel'), ('matmul', 'parallel')): registry.get(op, name)\n"
        "print(os.environ['GOMP_SPINCOUNT'], os.environ['NUMBA_NUM_THREADS'])\n"
    )
    lines = python(program).stdout.splitlines()
    assert lines == ["loading with passive", f"20000 {threads.usable_cpus()}"]


def test_a_wait_policy_of_the_users_own_is_left_alone() -> None:
    program = (
        "import os; from tinytorch.native import codecache; codecache.numba(); "
        "print(os.environ['OMP_WAIT_POLICY'], os.environ.get('GOMP_SPINCOUNT'))"
    )
    assert python(program, OMP_WAIT_POLICY="active").stdout.split() == ["active", "None"]


EARLY = (
    "import ctypes, sys, warnings\n"
    "try: ctypes.CDLL('libgomp.so.1')\n"
    "except OSError: sys.exit(print('none'))\n"
    "from tinytorch.native import codecache\n"
    "with warnings.catch_warnings(record=True) as seen:\n"
    "    warnings.simplefilter('always')\n"
    "    codecache.numba(); codecache.numba()\n"
    "print([str(w.message) for w in seen if w.category is RuntimeWarning])\n"
)


@linux
@needs_several
def test_openmp_loaded_too_early_is_warned_of_once() -> None:
    said = python(EARLY).stdout.strip()
    if said == "none":
        pytest.skip("no libgomp of the system's own")
    assert said.count("OpenMP was loaded before") == 1
    assert "OMP_WAIT_POLICY=passive" in said
    assert python(EARLY, OMP_WAIT_POLICY="passive").stdout.strip() == "[]"


def test_numba_loaded_by_the_user_first_keeps_its_settings() -> None:
    # Numba reads its whole configuration again when its environment changes.
    program = (
        "import os, numba; numba.config.BOUNDSCHECK = 1\n"
        "from tinytorch.native import codecache; codecache.numba()\n"
        "@numba.njit\ndef f(x): return x\n"
        "f(1); print(numba.config.BOUNDSCHECK, 'NUMBA_NUM_THREADS' in os.environ)\n"
    )
    assert python(program).stdout.split() == ["1", "False"]


def test_pools_are_described() -> None:
    for pool in threads.pools():
        assert set(pool) == {"internal_api", "version", "num_threads", "architecture"}


@needs_several
@pytest.mark.skipif(find_spec("scipy") is None, reason="SciPy is not installed")
def test_a_blas_that_is_loaded_later_is_told_too() -> None:
    program = (
        "from tinytorch.native import threads; threads.set_num_threads(1); import scipy.linalg\n"
        "before = sorted(p['num_threads'] for p in threads.pools())\n"
        "threads.set_num_threads(1)\n"
        "print(before, {p['num_threads'] for p in threads.pools()})\n"
    )
    before, after = python(program).stdout.strip().split("] ")
    if before == "[1":
        pytest.skip("SciPy has no BLAS of its own here")
    assert after == "{1}"


FORKS = """
import multiprocessing
import numpy as np
from tinytorch.backends import get
from tinytorch.errors import InvalidValue
from tinytorch.native import threads
x = np.ones(1 << 20, np.float32)
expected = get("native").dispatch("gelu", x)  # starts the pool of the parent

def work(_):
    with threads.use_threads(1):
        right = np.array_equal(get("native").dispatch("gelu", x), expected)
    try:
        threads.set_num_threads(2)
    except InvalidValue as error:
        return threads.get_num_threads(), right, "spawn" in str(error)

with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map_async(work, range(3)).get(timeout=60))
print(threads.get_num_threads() == threads.usable_cpus())
"""


@needs_several
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_computes_with_one_thread() -> None:
    # GNU OpenMP ends a forked process that uses its pool, and multiprocessing then waits for ever.
    first, second = python(FORKS).stdout.splitlines()
    assert first == str([(1, True, True)] * 3)
    assert second == "True"


MEETS = """
import threading
import numpy as np
from tinytorch.backends import get
native, x = get("native"), np.ones(1 << 18, np.float32)
expected = native.dispatch("gelu", x)
right = []
def work():
    for _ in range(30):
        right.append(np.array_equal(native.dispatch("gelu", x), expected))
workers = [threading.Thread(target=work) for _ in range(4)]
for worker in workers: worker.start()
for worker in workers: worker.join()
print(len(right), all(right))
"""


@needs_several
@pytest.mark.parametrize("layer", ["default", "workqueue"])
def test_python_threads_may_call_kernels_at_once(layer: str) -> None:
    # Numba's own pool, used where there is no OpenMP, ends the process otherwise.
    assert python(MEETS, NUMBA_THREADING_LAYER=layer).stdout.split() == ["120", "True"]
