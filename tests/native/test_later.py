from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from tinytorch.native.later import put_off


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "seldom_used.py").write_text("answer = 42\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "seldom_used", raising=False)
    return "seldom_used"


def test_a_module_is_loaded_when_something_of_it_is_used(module: str) -> None:
    with put_off(module):
        import seldom_used  # type: ignore[import-not-found]
    assert module not in sys.modules
    assert seldom_used.answer == 42
    assert sys.modules[module].answer == 42
    del sys.modules[module]


def test_after_the_block_an_import_is_an_import(module: str) -> None:
    with put_off(module):
        import seldom_used  # noqa: F401
    import seldom_used as real

    assert real is sys.modules[module] and "answer" in vars(real)
    del sys.modules[module]


def test_what_is_done_without_looks_absent_inside_and_is_there_after(module: str) -> None:
    with put_off(without=(module,)), pytest.raises(ImportError):
        import seldom_used
    import seldom_used

    assert seldom_used.answer == 42
    del sys.modules[module]


def test_what_is_loaded_stays() -> None:
    with put_off("json", without=("gc",)):
        import gc as collector
        import json
    assert json is sys.modules["json"] and collector is gc and gc.isenabled()


def test_numba_leaves_what_few_need_until_it_is_used() -> None:
    program = (
        "import sys\n"
        "from tinytorch.native.codecache import numba\n"
        "n = numba()\n"
        "late = [m for m in ('yaml', 'scipy', 'importlib.metadata') if m in sys.modules]\n"
        "assert not late, late\n"
        "@n.experimental.jitclass([('x', n.int64)])\n"
        "class Pair:\n"
        "    def __init__(self, x): self.x = x\n"
        "assert Pair(3).x == 3\n"
        "import importlib.metadata, numba.experimental\n"
        "assert importlib.metadata.version('numba') == n.__version__\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
