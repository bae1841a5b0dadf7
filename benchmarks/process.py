"""A peer's process as the harness sees it: ask, wait no longer than allowed, keep it asleep.

Between its turns a process is stopped as a whole (SIGSTOP, or what the system has for it), so that
no pool of threads spins while another peer is timed, and no peer's own waiting policy is touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).parent
_THREAD_SWITCHES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "NUMBA_NUM_THREADS",
    "TINYTORCH_NUM_THREADS",
)


class PeerFailed(Exception):
    """A peer's process ended, or gave no answer in time."""


@dataclass(frozen=True)
class Setting:
    """What all peers' processes share: threads, interpreters and a folder for arrays and logs."""

    threads: int
    folder: Path
    peers_python: str = sys.executable

    def environment(self) -> dict[str, str]:
        """Return the environment of a process: one thread count under every name."""
        paths = [str(HERE), str(HERE.parent / "src"), os.environ.get("PYTHONPATH", "")]
        return {
            **os.environ,
            **dict.fromkeys(_THREAD_SWITCHES, str(self.threads)),
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTHONWARNINGS": "ignore",
            # Its compiler would otherwise keep a pool of processes beside the peer's own.
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
        }


class PeerProcess:
    """One peer's process, started at once and stopped between questions."""

    def __init__(self, module: str, variant: str, python: str, setting: Setting) -> None:
        self._log = setting.folder / f"{module}-{variant}.log"
        command = [python, "-u", "-m", "peers.worker", module, variant, str(setting.threads)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=setting.environment(),
                cwd=setting.folder,
                start_new_session=True,  # Ctrl-C is the harness's to handle
            )
        self._answers: queue.Queue[bytes] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(b"")

    def _tail(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else "no message"

    def ask(self, do: str, timeout_seconds: float, **given: Any) -> Mapping[str, Any]:
        """Wake the process, ask, and return its answer, with the process asleep again.

        Raises PeerFailed, with the process ended, when it dies or takes too long.
        """
        assert self._process.stdin
        try:
            whole = psutil.Process(self._process.pid)
            whole.resume()
            self._process.stdin.write(json.dumps({"do": do, **given}).encode() + b"\n")
            self._process.stdin.flush()
            line = self._answers.get(timeout=timeout_seconds)
            if not line:
                raise EOFError
            whole.suspend()
        except queue.Empty:
            self.end()
            raise PeerFailed(f"no answer to {do!r} in {timeout_seconds:.0f} s") from None
        except (EOFError, OSError, ValueError, psutil.Error):
            self.end()
            code = self._process.returncode
            raise PeerFailed(f"its process ended with {code}: {self._tail()}") from None
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise PeerFailed(answer["failed"])
        return answer

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def end(self) -> None:
        """End the process, asleep or not."""
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
