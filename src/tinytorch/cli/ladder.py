"""tito ladder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from tinytorch import ops
from tinytorch.backends.ladders import Ladder, LadderRow, run_ladder
from tinytorch.cli import options
from tinytorch.cli.console import emit, progress
from tinytorch.errors import VerificationError
from tinytorch.measure import ceilings as measured
from tinytorch.measure import charts
from tinytorch.measure.ceilings import Ceilings
from tinytorch.measure.report import Spec, Table
from tinytorch.measure.roofs import roof_for
from tinytorch.measure.units import (
    bytes_text,
    figures,
    interval_text,
    percent_text,
    ratio_text,
)


def climb(op: str, update: Callable[[str, float], None], **chosen: Any) -> Ladder:
    """Run an op's ladder with progress for each rung."""
    return run_ladder(
        op, on_rung=lambda name, done, of: update(f"{op}/{name}", done / of), **chosen
    )


def _allocations(row: LadderRow) -> str:
    use = row.allocations
    if use is None or use.allocations is None:
        return "-"
    peak = f", peak {bytes_text(use.peak_bytes)}" if use.peak_bytes else ""
    return f"{use.allocations}{peak}"


def _speedup(row: LadderRow) -> str:
    if row.speedup_over_naive is None:
        return "1" if row.kernel == "naive" else "-"
    return ratio_text(row.speedup_over_naive)


def _cells(row: LadderRow, ceilings: Ceilings, dtype: str) -> dict[str, str]:
    cells = {"rung": row.kernel, "size": row.size, "error / bound": figures(row.check.worst, 2)}
    m = row.measurement
    if m is None:
        return {**cells, "time": row.refused or f"NOT TIMED: {row.check.reason}"}
    roof = roof_for(ceilings, dtype, row.bytes_moved)
    return {
        **cells,
        "time": interval_text(m.interval),
        "GFLOP/s": figures(row.gflops_per_s or 0),
        "GB/s": figures(row.gb_per_s or 0),
        "of attainable": "-" if roof is None else percent_text(row.placement(roof).fraction),
        "speed-up over naive": _speedup(row),
        "allocations": _allocations(row),
        "shaky": ", ".join(c.rule for c in m.criticisms),
    }


def ladder_table(found: Ladder, ceilings: Ceilings) -> Table:
    """Return a ladder as a table, bottom rung first."""
    columns = (
        "rung",
        "size",
        "time",
        "GFLOP/s",
        "GB/s",
        "of attainable",
        "speed-up over naive",
        "allocations",
        "error / bound",
        "shaky",
    )
    cells = [_cells(row, ceilings, found.dtype) for row in found.rows]
    rows = tuple(tuple(row.get(column, "") for column in columns) for row in cells)
    compared = next((r.speedup_size for r in found.rows if r.speedup_size), None)
    notes = [
        "time: median and 95 % interval of a call; attainable: the measured roof on "
        f"{ceilings.threads} thread(s), data in the nearest cache that keeps them",
    ]
    roofs = [(row, roof_for(ceilings, found.dtype, row.bytes_moved)) for row in found.rows]
    if any(roof and row.measurement and row.placement(roof).fraction > 1.05 for row, roof in roofs):
        notes.append(
            "over 100 %: part of the data stayed in a nearer cache, or the ceilings were measured "
            "while the machine was busier (`tito machine --remeasure`)"
        )
    if compared:
        notes.append(
            f"speed-up over naive: both at size {compared}, in turns: naive ends no larger"
        )
    return Table(f"The ladder of {found.op} ({found.dtype})", columns, rows, tuple(notes))


def ladder_bars(found: Ladder) -> Spec:
    """Return a chart of each rung's GFLOP/s, on a logarithmic scale."""
    speeds = [(f"{r.kernel} ({r.size})", r.gflops_per_s) for r in found.rows if r.gflops_per_s]
    best = max(speeds, key=lambda pair: pair[1])[0] if speeds else None
    return charts.bars(speeds, "GFLOP/s (logarithmic)", logarithmic=True, marked=best)


@click.command()
@click.argument("op")
@click.option("--size", default=None, help="A size of the op, e.g. 512 (see `tito ops OP`).")
@click.option("--kernels", default=None, help="Only these rungs or kernel files: naive,mine.py.")
@options.dtype
@options.params
@options.seconds
@options.threads
@options.as_json
def ladder(op: str, kernels: str | None, **chosen: Any) -> None:
    """Climb OP's ladder: each rung verified, then timed.

    What each reaches is held against this machine's measured roof and against naive.

    \b
    Example: tito ladder matmul --size 512
    """
    described = ops.get(op)
    dtype = options.dtype_of(described, chosen["dtype"])
    params = options.params_of(described, chosen["params_text"])
    chosen_kernels = options.kernels_of(op, kernels)
    if chosen["size"]:
        described.size(chosen["size"])
    with progress(f"ladder {op}") as update:
        ceilings = measured.ceilings(progress=update)
        found = climb(
            op,
            update,
            dtype=dtype,
            size=chosen["size"],
            params=params,
            seconds=chosen["seconds"],
            kernels=chosen_kernels,
        )
    emit(found.to_dict(), [ladder_table(found, ceilings)], chosen["as_json"])
    wrong = [row.kernel for row in found.rows if not row.check.ok]
    if wrong:
        raise VerificationError(f"wrong, and not timed: {', '.join(wrong)}")
