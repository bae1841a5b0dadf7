"""Which lines are hot, by sampling, and which of them one fused loop could take."""

from __future__ import annotations

import ast
import collections
import linecache
import os
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

_INTERVAL_SECONDS = 2e-3
# Two operations make one temporary array: from there on, fusing saves memory traffic.
_WORTH_FUSING = 2
_OPERATORS = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
    ast.Div: "divide",
    ast.Pow: "power",
    ast.FloorDiv: "floor_divide",
    ast.Mod: "remainder",
    ast.USub: "negative",
}
_REDUCTIONS = {"sum", "mean", "max", "min", "var", "prod", "any", "all", "argmax"}


@dataclass(frozen=True)
class HotLine:
    """A line of the program: seconds while it or what it called ran, and its text.

    `fusible` counts the array operations in it that @fuse covers, where there are several.
    """

    path: str
    number: int
    seconds: float
    text: str
    fusible: int


class Sampler:
    """A thread that looks every two milliseconds at which line of the program another is at.

    A sample counts for the time since the last one, and for the innermost frame whose file is below
    `folder`: the line that called whatever was running.

    NOTE: profilers that hang on calls and returns don't see a line of NumPy operators at all, since
    ufuncs make no such event; a frame's own line number is always right.
    """

    def __init__(self, folder: Path) -> None:
        """Watch the calling thread, once started."""
        self._folder, self._watched = str(folder.resolve()) + os.sep, threading.get_ident()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tinytorch-lines", daemon=True)
        self._ours: dict[str, bool] = {}
        self.spent: dict[tuple[str, int], float] = collections.defaultdict(float)
        self.samples = 0

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        last = time.perf_counter()
        while not self._done.wait(_INTERVAL_SECONDS):
            frame = sys._current_frames().get(self._watched)
            now = time.perf_counter()
            while frame is not None and not self._is_ours(frame.f_code.co_filename):
                frame = frame.f_back
            if frame is not None and frame.f_lineno:
                self.spent[frame.f_code.co_filename, frame.f_lineno] += now - last
            self.samples += 1
            last = now

    def _is_ours(self, path: str) -> bool:
        if path not in self._ours:
            whole = str(Path(path).resolve())
            self._ours[path] = not path.startswith("<") and whole.startswith(self._folder)
        return self._ours[path]

    def hottest(self, most: int = 10) -> list[HotLine]:
        """Return the lines in which the most time was spent, the first first."""
        ordered = sorted(self.spent.items(), key=lambda item: -item[1])[:most]
        return [_described(path, number, seconds) for (path, number), seconds in ordered]


def _described(path: str, number: int, seconds: float) -> HotLine:
    text = linecache.getline(path, number).strip()
    return HotLine(path, number, seconds, text, fusible_operations(path, number))


def fusible_operations(path: str, number: int) -> int:
    """Return how many operations of the statement at a line @fuse covers; 0 for fewer than two.

    Read from the source: whether operands are arrays is not known, so a line is a candidate.
    """
    try:
        tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, UnicodeDecodeError):
        return 0
    statements = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AugAssign | ast.Return | ast.Expr | ast.AnnAssign)
        and node.lineno <= number <= (node.end_lineno or node.lineno)
    ]
    if not statements:
        return 0
    count = sum(_covered(node) for node in ast.walk(statements[-1]))
    return count if count >= _WORTH_FUSING and _has_function(statements[-1]) else 0


def _covered(node: ast.AST) -> bool:
    from tinytorch.fuse.table import OPERATIONS

    if isinstance(node, ast.BinOp | ast.UnaryOp):
        return _OPERATORS.get(type(node.op)) in OPERATIONS
    name = _called(node)
    return name in OPERATIONS or name in _REDUCTIONS


def _called(node: ast.AST) -> str:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr
    return ""


def _has_function(statement: ast.AST) -> bool:
    """Say whether a statement calls a function of arrays: plain arithmetic may be on numbers."""
    return any(_called(node) and _covered(node) for node in ast.walk(statement))
