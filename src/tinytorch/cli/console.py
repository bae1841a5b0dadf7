"""What commands print with: tables, JSON, and progress that works with and without a terminal."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, TextIO

from tinytorch.measure.report import Table


def _console(stream: TextIO) -> Any:
    from rich.console import Console

    class Pipe(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would exit with 1, which means a failed check here

    # A file or a pipe has no width of its own: leave tables room.
    return Pipe(file=stream, highlight=False, width=None if stream.isatty() else 160)


def show(*tables: Table) -> None:
    """Print tables to standard output; box characters only where the terminal has them."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table as RichTable

    console = _console(sys.stdout)
    for table in tables:
        drawn = RichTable(
            title=escape(table.title), title_justify="left", box=box.SIMPLE_HEAD, safe_box=True
        )
        for i, column in enumerate(table.columns):
            drawn.add_column(
                escape(column), justify="right" if table.is_numeric(i) else "left", overflow="fold"
            )
        for row in table.rows:
            drawn.add_row(*map(escape, row))
        console.print(drawn)
        for note in table.notes:
            console.print(f"  {escape(note)}", style="dim")


def say(*lines: str) -> None:
    """Print plain lines to standard output."""
    for line in lines:
        print(line.encode(sys.stdout.encoding or "ascii", "replace").decode(sys.stdout.encoding))


def warn(line: str) -> None:
    """Print one line to standard error."""
    print(line, file=sys.stderr)


def emit(data: object, tables: Sequence[Table], as_json: bool) -> None:
    """Print the data as JSON, or the tables."""
    if as_json:
        print(json.dumps(data, indent=1, default=str))
    else:
        show(*tables)


_HEIGHTS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """Return a curve as one line of text: `width` blocks at most, each a mean of its values."""
    if not values:
        return ""
    cuts = [round(i * len(values) / width) for i in range(width + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(cuts) if b > a]
    low, high = min(means), max(means)
    scale = (len(_HEIGHTS) - 1) / (high - low) if high > low else 0.0
    return "".join(_HEIGHTS[round((mean - low) * scale)] for mean in means)


Update = Callable[[str, float], None]


@contextlib.contextmanager
def progress(title: str) -> Iterator[Update]:
    """Yield `update(what, fraction)`: a live bar on a terminal, else a line for each new `what`.

    Progress goes to standard error, so that standard output holds results alone.
    """
    console = _console(sys.stderr)
    if not console.is_terminal or console.is_dumb_terminal:
        yield _line_printer(title)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[what]}", style="dim"),
    )
    with Progress(*columns, console=console, transient=True) as live:
        task = live.add_task(title, total=1.0, what="")
        yield lambda what, fraction: live.update(task, completed=fraction, what=what)


def _line_printer(title: str) -> Update:
    seen: list[str] = []

    def update(what: str, fraction: float) -> None:
        if seen[-1:] != [what]:
            seen.append(what)
            print(f"{title}: {what} ({fraction:.0%})", file=sys.stderr, flush=True)

    return update
