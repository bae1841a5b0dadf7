"""Running a program as it is, and recording what it dispatches."""

from __future__ import annotations

import contextlib
import runpy
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinytorch.backends.recording import OpCall, recording
from tinytorch.errors import InvalidValue
from tinytorch.perf.profiling.lines import HotLine, Sampler


@dataclass(frozen=True)
class ScriptRun:
    """What a program did: its calls, when it started (time.perf_counter) and how long it took.

    `exit_code` is what it gave to sys.exit; `failure` the traceback of an exception that it raised.
    """

    path: Path
    start: float
    seconds: float
    cpu_seconds: float
    calls: list[OpCall]
    lines: list[HotLine]
    exit_code: int
    failure: str | None


@contextlib.contextmanager
def _as_main(path: Path, arguments: Sequence[str]) -> Iterator[None]:
    argv, search = sys.argv, list(sys.path)
    sys.argv = [str(path), *arguments]
    sys.path.insert(0, str(path.parent))
    try:
        yield
    finally:
        sys.argv, sys.path[:] = argv, search


def run_script(path: Path, arguments: Sequence[str] = (), lines: bool = False) -> ScriptRun:
    """Run a Python file as `python path arguments` would, in this process, recording its ops.

    With `lines` it is sampled too. Raises InvalidValue where there is no such file. An exception
    of the program ends it, and is in the result.
    """
    path = path.resolve()
    if not path.is_file():
        raise InvalidValue(f"there is no file {path}")
    code, failure = 0, None
    sampler = Sampler(path.parent) if lines else None
    watching = sampler or contextlib.nullcontext()
    with _as_main(path, arguments), watching, recording() as recorder:
        cpu, start = time.process_time(), time.perf_counter()
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except Exception:
            failure, code = traceback.format_exc(), 1
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    hot = sampler.hottest() if sampler else []
    return ScriptRun(path, start, seconds, cpu_seconds, recorder.calls, hot, code, failure)
