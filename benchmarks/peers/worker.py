"""A peer's process: `python -m peers.worker MODULE VARIANT THREADS`, told what to do on stdin.

A command is a line of JSON, and so is each answer. What libraries print goes to stderr. Arrays come
and go as .npy files.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from peers import Absent, Run

Answer = dict[str, Any]


def _seconds(call: Callable[[], Any], loops: int) -> float:
    start = time.perf_counter()
    for _ in range(loops):
        call()
    return (time.perf_counter() - start) / loops


def _once(call: Callable[[], Any], budget_seconds: float = 0.3) -> float:
    """Return the seconds of a call after warming up: two in a row within 10 %, or the budget."""
    deadline = time.perf_counter() + budget_seconds
    last = _seconds(call, 1)
    while time.perf_counter() < deadline:
        loops = max(1, min(1000, int(1e-3 / max(last, 1e-9))))
        now = _seconds(call, loops)
        if abs(now - last) <= 0.1 * last:
            return now
        last = now
    return last


class Worker:
    """One peer with the case that it was last prepared for."""

    def __init__(self, module: str, variant: str, threads: int) -> None:
        self._variant = variant
        self._threads = threads
        self._name = module
        self._module: Any = None
        self._run: Run | None = None
        self._once = 0.0

    def start(self) -> Answer:
        """Load the library."""
        self._module = importlib.import_module(self._name)
        try:
            version = self._module.start(self._threads)
        except ImportError as error:
            return {"absent": f"not installed ({error})"}
        # NOTE: to look through what a library is made of takes up to 0.2 s, at each case anew.
        gc.collect()
        gc.freeze()
        return {"version": version}

    def prepare(self, kind: str, params: dict[str, Any], inputs: list[str], folder: str) -> Answer:
        """Make a case's program, call it once, and write its outputs."""
        self._run = None
        gc.collect()
        arrays = [np.load(path) for path in inputs]
        given = [array.item() if array.ndim == 0 else array for array in arrays]
        makers = self._module.MAKERS
        if self._variant and f"{kind} {self._variant}" in makers:
            kind = f"{kind} {self._variant}"
        if kind not in makers:
            return {"absent": getattr(self._module, "ABSENT", {}).get(kind, "has no such program")}
        try:
            keywords = {"variant": self._variant} if self._variant else {}
            run: Run = makers[kind](params, *given, **keywords)
        except Absent as reason:
            return {"absent": str(reason)}
        start = time.perf_counter()
        made = (run.check or run.call)()
        first = time.perf_counter() - start
        outputs = [np.asarray(m) for m in (made if isinstance(made, tuple | list) else (made,))]
        paths = [str(Path(folder) / f"out{i}.npy") for i in range(len(outputs))]
        for path, output in zip(paths, outputs, strict=True):
            np.save(path, output)
        self._run = run
        return {
            "outputs": paths,
            "first_seconds": first,
            "preallocated": run.preallocated,
            "note": run.note,
        }

    def calibrate(self) -> Answer:
        """Return a call's seconds, warm."""
        assert self._run is not None
        self._once = _once(self._run.call)
        return {"once_seconds": self._once}

    def time(self, loops: int) -> Answer:
        """Return the seconds a call over `loops` calls, after some that are not counted."""
        assert self._run is not None
        call = self._run.call
        if self._once < 0.05:  # a longer one warms itself
            _seconds(call, max(2 if self._once < 0.01 else 1, loops // 4))
        gc.disable()
        try:
            return {"seconds": _seconds(call, loops)}
        finally:
            gc.enable()

    def drop(self) -> Answer:
        """Forget the case and give its memory back."""
        self._run = None
        gc.collect()
        return {}


def _serve(worker: Worker, answers: TextIO) -> None:
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = getattr(worker, command.pop("do"))(**command)
        except Exception as error:
            traceback.print_exc()
            answer = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


def _die_with_parent() -> None:
    """End when the harness does, however it ends: a stopped process can't notice by itself."""
    if sys.platform == "linux":
        death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(death_signal, signal.SIGKILL)


def main() -> None:
    """Serve until stdin ends."""
    _die_with_parent()
    module, variant, threads = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    if hasattr(os, "sched_setaffinity"):  # for those that count CPUs and take no number
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(threads)])
    _serve(Worker(module, variant, int(threads)), answers)


if __name__ == "__main__":
    main()
