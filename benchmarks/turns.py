"""Peers take turns on a case: made and verified first, then timed in rounds, as `race` has them."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from case import Case, Judge
from peers import OURS, PEERS
from process import PeerFailed, PeerProcess, Setting

from tinytorch.measure.clock import in_turn
from tinytorch.measure.stats import median_interval, ratio_interval
from tinytorch.native import threads

_START_SECONDS, _PREPARE_SECONDS, _TURN_SECONDS = 120.0, 240.0, 120.0
# A peer this many times slower than the fastest answers its question in few rounds.
_FAR = 4.0


@dataclass(frozen=True)
class Effort:
    """How long a case may take: `seconds` of rounds, fewer once the ratios are narrow."""

    seconds: float
    sample_seconds: float
    min_rounds: int = 7
    max_rounds: int = 41
    relative_width: float = 0.02


FULL = Effort(2.0, 5e-3, min_rounds=9, max_rounds=61)
QUICK = Effort(0.7, 3e-3, min_rounds=6, max_rounds=15, relative_width=0.05)


@dataclass
class Outcome:
    """What became of a peer on a case: `ok` with samples, or absent, wrong or failed, and why.

    first_seconds: its first call's, compiling included, while other peers may have been compiling.
    """

    status: str
    reason: str = ""
    version: str = ""
    note: str = ""
    preallocated: bool = True
    first_seconds: float | None = None
    bytes_written: int = 0
    seconds: list[float] = field(default_factory=list)
    loops: int = 1

    @property
    def median(self) -> float:
        """The median seconds a call."""
        return median_interval(self.seconds).median


@dataclass
class Result:
    """All peers' outcomes on a case, and the bytes that it must move at least."""

    outcomes: dict[str, Outcome]
    bytes_moved: int
    stopped: str = ""

    def timed(self) -> dict[str, Outcome]:
        """Return those that were timed."""
        return {n: o for n, o in self.outcomes.items() if o.status == "ok" and o.seconds}


class Turns:
    """Keeps the peers' processes, and holds cases among them."""

    def __init__(self, setting: Setting, effort: Effort) -> None:
        self._setting = setting
        self._effort = effort
        self._processes: dict[str, PeerProcess] = {}
        self._versions: dict[str, str] = {}
        self._absent: dict[str, str] = {}
        # NOTE: kept, for a peer's process ends with the thread that started it (see worker.py).
        self._pool = ThreadPoolExecutor(threads.usable_cpus())

    def close(self) -> None:
        """End every process."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        while self._processes:  # whoever waits for one of them is told that it has failed
            self._processes.popitem()[1].end()

    def _process(self, name: str) -> PeerProcess:
        """Return a peer's process, started anew if it has ended; raises PeerFailed."""
        known = self._processes.get(name)
        if known and known.alive:
            return known
        peer = PEERS[name]
        own = peer.package in ("tinytorch", "numpy")
        python = sys.executable if own else self._setting.peers_python
        started = PeerProcess(peer.module, peer.variant, python, self._setting)
        answer = started.ask("start", _START_SECONDS)
        self._versions[name] = answer.get("version", "")
        if "absent" in answer:
            started.end()
            self._absent[name] = f"{answer['absent']}: pip install {peer.package}"
        self._processes[name] = started
        return started

    def _prepared(self, name: str, case: Case, inputs: list[str], judge: Judge) -> Outcome:
        """Have a peer make the case's program, and verify what it computes."""
        folder = self._setting.folder / f"outputs of {name}"
        folder.mkdir(exist_ok=True)
        try:
            if name not in self._absent:
                process = self._process(name)
            if name in self._absent:
                return Outcome("absent", self._absent[name])
            answer = process.ask(
                "prepare",
                _PREPARE_SECONDS,
                kind=case.kind,
                params=dict(case.params),
                inputs=inputs,
                folder=str(folder),
            )
            if "absent" in answer:
                return Outcome("absent", answer["absent"], self._versions[name])
            outputs = [np.load(path) for path in answer["outputs"]]
        except PeerFailed as failure:
            return Outcome("failed", str(failure), self._versions.get(name, ""))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        fault = "" if PEERS[name].yardstick else judge(outputs)
        return Outcome(
            "wrong" if fault else "ok",
            fault,
            self._versions[name],
            answer["note"],
            answer["preallocated"],
            answer["first_seconds"],
            sum(output.nbytes for output in outputs),
        )

    def _all_prepared(
        self, names: Sequence[str], case: Case, inputs: list[str], judge: Judge
    ) -> dict[str, Outcome]:
        """Have every peer make the case's program: as many at once as there are CPUs.

        Most of it is compiling, which takes one each; nothing is timed yet.
        """
        made = self._pool.map(lambda name: self._prepared(name, case, inputs, judge), names)
        return dict(zip(names, made, strict=True))

    def hold(self, case: Case, names: Sequence[str]) -> Result:
        """Make, verify and time a case; Ctrl-C during the rounds keeps the whole rounds.

        Without ours, or with ours wrong, nothing is timed.
        """
        inputs = case.inputs()
        paths = []
        for i, value in enumerate(inputs):
            paths.append(str(self._setting.folder / f"in{i}.npy"))
            np.save(paths[-1], value)
        judge = case.judge(inputs)
        outcomes = self._all_prepared(names, case, paths, judge)
        read = sum(np.asarray(value).nbytes for value in inputs if np.ndim(value))
        written = [o.bytes_written for n, o in outcomes.items() if not PEERS[n].yardstick]
        result = Result(outcomes, read + (written[0] if written else 0))
        try:
            if OURS not in outcomes or outcomes[OURS].status == "ok":
                result.stopped = self._rounds(result)
        finally:
            self._forget(names, paths)
        return result

    def _forget(self, names: Sequence[str], paths: list[str]) -> None:
        for path in paths:
            Path(path).unlink(missing_ok=True)
        for process in (self._processes[n] for n in names if n in self._processes):
            if process.alive:
                with contextlib.suppress(PeerFailed):
                    process.ask("drop", _TURN_SECONDS)

    def _loops(self, result: Result) -> None:
        """Set each peer's calls a sample: one count for all, but for those far slower."""
        once: dict[str, float] = {}
        for name, outcome in result.outcomes.items():
            if outcome.status == "ok":
                answer = self._ask(name, outcome, "calibrate")
                once |= {name: answer["once_seconds"]} if answer else {}
        for name, seconds in once.items():
            per = min(once.values()) if seconds <= _FAR * min(once.values()) else seconds
            result.outcomes[name].loops = max(1, round(self._effort.sample_seconds / per))
        self._once = once

    def _ask(self, name: str, outcome: Outcome, do: str, **given: Any) -> dict[str, Any]:
        try:
            return dict(self._processes[name].ask(do, _TURN_SECONDS, **given))
        except PeerFailed as failure:
            outcome.status, outcome.reason, outcome.seconds = "failed", str(failure), []
            return {}

    def _rounds(self, result: Result) -> str:
        self._loops(result)
        deadline = time.perf_counter() + self._effort.seconds
        far = {n for n, s in self._once.items() if s > _FAR * min(self._once.values())}
        names = list(self._once)
        for done in range(1, self._effort.max_rounds + 1):
            taken: dict[str, float] = {}
            try:
                for name in in_turn(names, done - 1):
                    outcome = result.outcomes[name]
                    if outcome.status == "ok" and (name not in far or done <= 6):
                        answer = self._ask(name, outcome, "time", loops=outcome.loops)
                        taken |= {name: answer["seconds"]} if answer else {}
            except KeyboardInterrupt:
                self.close()
                return "interrupted"
            for name, seconds in taken.items():
                result.outcomes[name].seconds.append(seconds)
            if done >= self._effort.min_rounds and self._narrow(result):
                return "interval"
            if time.perf_counter() > deadline and done >= 6:
                return "budget"
        return "rounds"

    def _narrow(self, result: Result) -> bool:
        timed = result.timed()
        if OURS not in timed:
            return False
        ours = timed[OURS].seconds
        ratios = [paired(o.seconds, ours) for n, o in timed.items() if n != OURS]
        near = [r.relative_width for r in ratios if 0.5 < r.median < _FAR]
        return max(near, default=0.0) <= self._effort.relative_width


def paired(theirs: Sequence[float], ours: Sequence[float]) -> Any:
    """Return how many times faster we are, over the rounds that both were in."""
    both = min(len(theirs), len(ours))
    return ratio_interval(theirs[:both], ours[:both])
