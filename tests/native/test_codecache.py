from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinytorch.native import codecache, level, threads
from tinytorch.native.codecache import REASSOCIATE, assembly, jit
from tinytorch.native.sources import source_hash

on_x86 = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="these are x86-64's levels"
)


def python(program: str, cache: Path, **environment: str) -> str:
    """Run a program in a fresh process with a cache folder of its own, and return its output."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=os.environ | {"TINYTORCH_CACHE_DIR": str(cache)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# The folder -----------------------------------------------------------------------------------


def test_the_hash_changes_with_content_and_name(tmp_path: Path) -> None:
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text("a = 1")
    two.write_text("b = 2")
    before = source_hash([one, two])
    assert len(before) == 16
    assert source_hash([two, one]) == before
    two.write_text("b = 3")
    assert source_hash([one, two]) != before
    two.write_text("b = 2")
    assert source_hash([one, two]) == before
    assert source_hash([one, two.rename(tmp_path / "three.py")]) != before
    assert source_hash([one]) != before


def test_the_folder_changes_with_any_source_compiled_code_may_come_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # A package that looks like ours, with one file in each folder that is compiled from.
    for name in ("native", "kernels/matmul", "measure", "ops"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "some.py").write_text("x = 1")
    monkeypatch.setattr(codecache, "__file__", str(tmp_path / "native" / "codecache.py"))
    monkeypatch.setenv("TINYTORCH_CACHE_DIR", str(tmp_path / "cache"))
    folder = codecache.folder.__wrapped__
    before = folder()
    assert before is not None and before.is_dir() and before == folder()
    for name in ("native", "kernels/matmul", "measure"):
        (tmp_path / name / "some.py").write_text(f"x = 2  # {name}")
        assert folder() != before
        before = folder()
    (tmp_path / "ops" / "some.py").write_text("x = 2")
    assert folder() == before


def test_a_folder_that_can_not_be_written_is_warned_of_and_everything_works(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("in the way")
    program = (
        "import warnings\n"
        "with warnings.catch_warnings(record=True) as seen:\n"
        "    warnings.simplefilter('always')\n"
        "    from tinytorch.native.codecache import jit\n"
        "    f = jit(lambda x: x + 1)\n"
        "    g = jit(lambda x: x + 2)\n"
        "print(f(1), g(1), len(seen), seen[0].message)\n"
    )
    said = python(program, tmp_path / "file" / "cache")
    assert said.startswith("2 3 1 compiled code can't be kept in")
    assert "TINYTORCH_CACHE_DIR" in said


USES = (
    "import numpy as np\n"
    "from tinytorch.kernels.relu import fused\n"
    "fused.fused(np.ones(9, np.float32))\n"
    "print(sum(fused.loop.stats.cache_hits.values()), sum(fused.loop.stats.cache_misses.values()))"
)


def test_a_second_process_loads_what_the_first_compiled(tmp_path: Path) -> None:
    assert python(USES, tmp_path) == "0 1"
    assert python(USES, tmp_path) == "1 0"
    kept = list((tmp_path / "numba").rglob("*.nbc"))
    assert kept


@pytest.mark.parametrize(("kind", "flips"), [("*.nbi", 0), ("*.nbc", 0), ("*.nbc", 1)])
def test_what_is_damaged_is_compiled_anew(tmp_path: Path, kind: str, flips: int) -> None:
    assert python(USES, tmp_path) == "0 1"
    files = list((tmp_path / "numba").rglob(kind))
    assert files
    for file in files:
        content = file.read_bytes()
        half = len(content) // 2
        rest = bytes(byte ^ flips for byte in content[half:]) if flips else b""
        file.write_bytes(content[:half] + rest)
    assert python(USES, tmp_path) == "0 1"
    assert python(USES, tmp_path) == "1 0"


@pytest.mark.skipif(sys.platform != "linux", reason="object files of another form")
def test_machine_code_that_is_not_what_was_kept_is_not_run(tmp_path: Path) -> None:
    assert python(USES, tmp_path) == "0 1"
    (file,) = (f for f in (tmp_path / "numba").rglob("*.nbc") if "loop" in f.name)
    content = bytearray(file.read_bytes())
    content[content.index(b"\x7fELF") + 15] ^= 1  # a byte that no loader looks at
    file.write_bytes(content)
    assert python(USES, tmp_path) == "0 1"


CALLS = """
import numpy as np
from tinytorch.kernels.relu.fused import loop
from tinytorch.native.codecache import load_generated
x = np.array([-1, 2], np.float32)
out = np.empty_like(x)
loop(x, out)
source = '''
from tinytorch.kernels.relu.fused import loop
from tinytorch.native.codecache import jit
@jit
def both(x, out):
    loop(x, out)
    return out.sum()
'''
both = load_generated(source, NAME).both
print(both(x, out), *(sum(f.stats.cache_hits.values()) for f in (loop, both)))
"""


def test_what_was_loaded_can_be_called_by_what_is_compiled(tmp_path: Path) -> None:
    assert python(CALLS.replace("NAME", "'one'"), tmp_path) == "2.0 0 0"
    assert python(CALLS.replace("NAME", "'two'"), tmp_path) == "2.0 1 0"
    assert python(CALLS.replace("NAME", "'two'"), tmp_path) == "2.0 1 1"


def test_as_a_process_ends_objects_that_hold_each_other_are_still_told(tmp_path: Path) -> None:
    program = (
        "import gc, sys\n"
        "from tinytorch.native import codecache\n"
        "class Told:\n"
        "    def __del__(self, say=print):\n"
        "        say('told', gc.isenabled())\n"
        "codecache.numba()\n"
        "one = Told()\n"
        "one.itself = one"
    )
    assert python(program, tmp_path) == "told False"


@pytest.mark.skipif(threads.usable_cpus() == 1, reason="there is one CPU to share")
def test_the_form_for_one_thread_is_not_taken_for_the_other(tmp_path: Path) -> None:
    program = (
        "import numpy as np\n"
        "from tinytorch.kernels.relu import parallel\n"
        "parallel.parallel(np.ones(9, np.float32))\n"
        "for form in (parallel._shares._parallel, parallel._shares._serial):\n"
        "    print(sum(form.stats.cache_hits.values()), sum(form.stats.cache_misses.values()))"
    )
    assert python(program, tmp_path).split() == ["0", "1", "0", "0"]
    assert python(program, tmp_path, TINYTORCH_NUM_THREADS="1").split() == ["0", "0", "0", "1"]
    assert python(program, tmp_path, TINYTORCH_NUM_THREADS="1").split() == ["0", "0", "1", "0"]
    assert python(program, tmp_path).split() == ["1", "0", "0", "0"]


# What is compiled -----------------------------------------------------------------------------


@jit
def quotients(x, out):
    for i in range(x.size):
        out[i] = 1 / x[i]


@jit
def total(x):
    s = x.dtype.type(0)
    for i in range(x.size):
        s += x[i]
    return s


@jit(flags=REASSOCIATE)
def reassociated_total(x):
    s = x.dtype.type(0)
    for i in range(x.size):
        s += x[i]
    return s


def test_division_by_zero_is_numpys() -> None:
    out = np.empty(3, np.float32)
    quotients(np.float32([0.0, -0.0, np.nan]), out)
    assert np.array_equal(out, [np.inf, -np.inf, np.nan], equal_nan=True)


def test_nan_and_infinity_are_respected() -> None:
    assert np.isnan(total(np.float32([1, np.nan])))
    assert total(np.float32([1, np.inf])) == np.inf
    assert np.isnan(reassociated_total(np.float32([np.inf, -np.inf])))


def test_a_sum_keeps_its_order_unless_it_may_not() -> None:
    # From left to right, each 1 is lost in 2^24; in any other order, some of them add up first.
    x = np.ones(4097, np.float32)
    x[0] = 2**24
    assert total(x) == 2**24
    assert reassociated_total(x) > 2**24


def test_the_options_of_the_decorator() -> None:
    plain = jit(lambda x: x)
    assert plain.targetoptions["error_model"] == "numpy"
    assert plain.targetoptions["nogil"] and not plain.targetoptions.get("parallel")
    assert jit(parallel=True)(lambda x: x).targetoptions["parallel"]
    assert jit(inline=True)(lambda x: x).targetoptions["forceinline"]


@jit(parallel=True)
def doubled(x, out):
    for i in codecache.prange(x.size):
        out[i] = 2 * x[i]


def test_one_thread_needs_no_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    x, out = np.arange(5.0), np.empty(5)
    monkeypatch.setattr(threads, "get_num_threads", lambda: 1)
    doubled(x, out)
    assert np.array_equal(out, 2 * x)
    assert not doubled.signatures  # the parallel form was not even compiled
    monkeypatch.setattr(threads, "get_num_threads", lambda: 2)
    doubled(x, out[::-1])
    assert np.array_equal(out[::-1], 2 * x)
    assert len(doubled.signatures) == 1
    assert doubled.__name__ == "doubled"


def test_the_configuration_of_numba_is_left_as_it_was() -> None:
    module = codecache.numba()
    before = module.config.CACHE_DIR
    jit(lambda x: x)
    assert before == module.config.CACHE_DIR
    assert before != str(codecache.folder())


def test_prange_comes_from_here() -> None:
    assert codecache.prange is codecache.numba().prange
    with pytest.raises(AttributeError, match="no attribute 'prang'"):
        _ = codecache.prang


# The vector level -----------------------------------------------------------------------------

WIDTHS = (
    "import numpy as np\n"
    "from tinytorch.kernels.gelu import parallel\n"
    "from tinytorch.kernels.gelu.fused import tanh_loop\n"
    "from tinytorch.native import level\n"
    "from tinytorch.native.codecache import assembly\n"
    "x = np.ones(64, np.float32)\n"
    "parallel.parallel(x)\n"
    "uses = level.register_uses(assembly(tanh_loop, x, x))\n"
    "print(*(name for name in ('zmm', 'ymm', 'xmm') if uses[name]))"
)


@on_x86
@pytest.mark.parametrize(("isa", "widest"), [("avx2", "ymm"), ("v128", "xmm")])
def test_a_lower_vector_level_can_be_forced(isa: str, widest: str) -> None:
    if isa == "avx2" and level._host_isa() == "v128":
        pytest.skip("this CPU has no AVX2")
    cache = Path(os.environ["TINYTORCH_CACHE_DIR"])
    assert python(WIDTHS, cache, TINYTORCH_ISA=isa).split()[0] == widest


def test_assembly_is_of_the_types_asked_for() -> None:
    x = np.ones(8, np.float32)
    assert "quotients" in assembly(quotients, x, x)
    single, double = assembly(quotients, x, x), assembly(quotients, *[x.astype(np.float64)] * 2)
    assert single != double
