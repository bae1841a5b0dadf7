"""Settings that every test shares: a cache of our own, and nothing left behind for the next test.

Compiled code is kept in `.cache-tests` between runs, so that only the first one compiles. What is
measured (tuning, ceilings) is thrown away before each run: it must not decide what tests see.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

CACHE = Path(__file__).parent.parent / ".cache-tests"
_DAY_SECONDS = 86_400


def pytest_configure(config: pytest.Config) -> None:
    """Point the cache away from the user's, before any test module is imported."""
    for name in ("TINYTORCH_BACKEND", "TINYTORCH_TUNE"):
        os.environ.pop(name, None)
    os.environ["TINYTORCH_CACHE_DIR"] = str(CACHE)
    # NOTE: the same examples each time; a statistical bound may be passed once in a million.
    hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
    hypothesis.settings.load_profile("repeatable")
    if hasattr(config, "workerinput"):  # one of several processes, whose parent has cleared up
        return
    compiled = CACHE / "numba"
    for path in CACHE.glob("*"):
        if path != compiled:
            _remove(path)
    for path in compiled.glob("*"):  # compiled from sources that have changed since
        if path.stat().st_mtime < time.time() - _DAY_SECONDS:
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def _settings_restored() -> Iterator[None]:
    """Give the next test the backend and the thread count of a fresh start."""
    yield
    backends = sys.modules.get("tinytorch.backends")
    if backends is not None:
        backends._global = None
    threads = sys.modules.get("tinytorch.native.threads")
    if threads is not None and threads.get_num_threads() != threads._default():
        threads.set_num_threads(threads._default())
