"""tito profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tinytorch.cli.console import emit, progress, say, warn
from tinytorch.errors import MeasurementError
from tinytorch.measure import ceilings as measured
from tinytorch.measure import charts
from tinytorch.measure.report import Report, Section, Table, table_of
from tinytorch.measure.sample import Environment
from tinytorch.measure.units import bytes_text, figures, percent_text, seconds_text
from tinytorch.perf.profiling import optable
from tinytorch.perf.profiling.advice import Step, next_steps
from tinytorch.perf.profiling.lines import HotLine
from tinytorch.perf.profiling.optable import OpRow
from tinytorch.perf.profiling.script import ScriptRun, run_script
from tinytorch.perf.profiling.timeline import write_trace

_SHOWN = 15


def _share(part: float, whole: float) -> str:
    return percent_text(part / whole) if whole else "-"


def _op_cells(row: OpRow, wall: float) -> dict[str, str]:
    return {
        "op": row.first.op,
        "kernel": row.first.kernel,
        "shapes": row.shapes_text,
        "calls": f"{row.calls:,}",
        "time": seconds_text(row.seconds),
        "of all": _share(row.seconds, wall),
        "GFLOP/s": figures(row.flops / row.seconds / 1e9),
        "bytes": bytes_text(row.bytes_moved),
        "of its roof": "-" if row.fraction is None else percent_text(row.fraction),
        "dispatch": "-" if row.overhead is None else percent_text(row.overhead),
    }


def op_table(rows: list[OpRow], run: ScriptRun, cost_seconds: float) -> Table:
    """Return the ops of a run, the most time first, with what recording cost below."""
    inside = optable.busy_seconds(run.calls)
    shown = [_op_cells(row, run.seconds) for row in rows[:_SHOWN]]
    notes = [
        f"{seconds_text(run.seconds)} in all, {seconds_text(inside)} in {len(run.calls):,} ops; "
        f"{seconds_text(max(0.0, run.seconds - inside))} outside: Python, NumPy, imports, I/O",
        f"recording cost {seconds_text(cost_seconds * len(run.calls))}, "
        f"{_share(cost_seconds * len(run.calls), run.seconds)} of the run "
        f"({seconds_text(cost_seconds)} a call, measured)",
        "bytes: compulsory traffic; dispatch: what the calls take with a backend that computes "
        "nothing",
    ]
    if len(rows) > _SHOWN:
        rest = rows[_SHOWN:]
        notes.insert(0, f"{len(rest)} more: {seconds_text(sum(row.seconds for row in rest))}")
    return table_of(f"ops of {run.path.name}", shown, notes)


def line_table(lines: list[HotLine], run: ScriptRun) -> Table:
    """Return the hot lines."""
    rows = [
        {
            "line": f"{Path(line.path).name}:{line.number}",
            "time": seconds_text(line.seconds),
            "of all": _share(line.seconds, run.seconds),
            "@fuse": f"{line.fusible} operations" if line.fusible else "-",
            "text": line.text[:80],
        }
        for line in lines
    ]
    notes = ["sampled every two milliseconds; a line's time includes what it called"]
    if any(line.fusible for line in lines):
        notes.append(
            "@fuse makes one loop of a line's operations: `from tinytorch.fuse import fuse`"
        )
    return table_of(f"hot lines of {run.path.name}", rows, notes)


def step_table(steps: list[Step]) -> Table:
    """Return what to do next."""
    rows = [
        {
            "what to do next": step.seen,
            "at most": "-" if step.gain == float("inf") else f"{step.gain:.2f}x",
            "command": step.command or "-",
        }
        for step in steps
    ]
    return table_of("what to do next", rows)


def _data(rows: list[OpRow], run: ScriptRun, steps: list[Step], cost: float) -> dict[str, Any]:
    return {
        "script": str(run.path),
        "seconds": run.seconds,
        "cpu_seconds": run.cpu_seconds,
        "seconds_in_ops": optable.busy_seconds(run.calls),
        "calls": len(run.calls),
        "recording_seconds_a_call": cost,
        "exit_code": run.exit_code,
        "ops": [
            {
                "op": row.first.op,
                "kernel": row.first.kernel,
                "backend": row.first.backend,
                "dtype": row.first.dtype,
                "shapes": row.first.shapes,
                "params": dict(row.first.params),
                "calls": row.calls,
                "seconds": row.seconds,
                "flops": row.flops,
                "bytes_moved": row.bytes_moved,
                "fraction_of_roof": row.fraction,
                "dispatch_share": row.overhead,
            }
            for row in rows
        ],
        "lines": [vars(line) for line in run.lines],
        "next": [vars(step) for step in steps],
    }


def _report(run: ScriptRun, tables: list[Table], rows: list[OpRow]) -> Report:
    here = Environment.now()
    bars = [(f"{r.first.op} {r.first.kernel} {r.shapes_text}", 1e3 * r.seconds) for r in rows[:10]]
    drawn = {"milliseconds": charts.bars(bars, "ms")} if bars else {}
    failed = (f"The program failed: {run.failure.splitlines()[-1]}",) if run.failure else ()
    return Report(
        f"Profile of {run.path.name}",
        f"{here.cpu_model}, {here.threads} threads; {here.taken_at}",
        (Section("Profile", text=failed, tables=tuple(tables), charts=drawn),),
    )


def _takes_ops(path: Path) -> bool:
    """Say whether a program speaks of tinytorch at all; if not, its lines are what there is."""
    try:
        return "tinytorch" in path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--lines/--no-lines", default=None, help="Sample lines too.")
@click.option(
    "--output",
    default="profile",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder for the report and the timeline.",
)
@click.option("--json", "as_json", is_flag=True, help="Print data instead of tables.")
@click.argument("script", type=click.Path(path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def profile(
    script: Path, arguments: tuple[str, ...], lines: bool | None, output: Path, as_json: bool
) -> None:
    """Run SCRIPT with ARGUMENTS, and say where its time goes and what to do about it.

    Options of ours come before SCRIPT. Writes a report (HTML) and a timeline (for
    chrome://tracing or ui.perfetto.dev). Without --lines, lines are sampled only where the program
    does not use tinytorch.

    \b
    Example: tito profile --lines train.py --epochs 2
    """
    wanted = not _takes_ops(script) if lines is None else lines
    run = run_script(script, arguments, lines=wanted)
    rows = optable.op_rows(run.calls)
    cost = optable.recording_cost() if rows else 0.0
    if rows:
        with progress("ceilings") as update:
            optable.place(rows, measured.ceilings(progress=update))
        optable.measure_dispatch(rows)
    outside = max(0.0, run.seconds - optable.busy_seconds(run.calls))
    steps = next_steps(rows, run.seconds, outside, run.lines)
    tables = [op_table(rows, run, cost)] if rows else []
    tables += [line_table(run.lines, run)] if run.lines else []
    tables += [step_table(steps)]
    page = _report(run, tables, rows).write(output / f"{run.path.stem}.html")
    written = [f"report: {page}"]
    if run.calls:
        path = write_trace(run.calls, run.start, output / f"{run.path.stem}.trace.json")
        written.append(f"timeline: {path}")
    emit(_data(rows, run, steps, cost), tables, as_json)
    if not as_json:
        say(*written)
    if run.failure:
        warn(run.failure.rstrip())
        raise MeasurementError(f"{run.path.name} failed; the tables show what it did until then")
