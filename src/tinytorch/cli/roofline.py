"""tito roofline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tinytorch import ops
from tinytorch.backends.ladders import Ladder
from tinytorch.cli import ladder, options
from tinytorch.cli.console import emit, progress, say
from tinytorch.errors import InvalidValue
from tinytorch.measure import ceilings as measured
from tinytorch.measure import charts
from tinytorch.measure.ceilings import Ceilings
from tinytorch.measure.report import Spec, Table, table_of, write_png
from tinytorch.measure.roofline import Placement
from tinytorch.measure.roofs import lines_for, roof_for
from tinytorch.measure.units import figures, percent_text, seconds_text


def _placed(found: Ladder, ceilings: Ceilings) -> list[tuple[str, Placement]]:
    placed = []
    for row in found.rows:
        roof = roof_for(ceilings, found.dtype, row.bytes_moved)
        if roof is not None and row.measurement is not None:
            placed.append((row.kernel, row.placement(roof)))
    return placed


def roofline_spec(found: Ladder, ceilings: Ceilings) -> Spec:
    """Return the chart of a ladder under this machine's measured ceilings."""
    return charts.roofline(lines_for(ceilings, found.dtype), _placed(found, ceilings))


def placement_table(found: Ladder, ceilings: Ceilings) -> Table:
    """Return where each rung stands, what binds it, and the least time its roof allows."""
    rows = [
        {
            "rung": name,
            "FLOP/byte": figures(p.intensity),
            "ridge": figures(p.roof.ridge),
            "bound by": f"{p.roof.level} bandwidth" if p.bound == "memory" else "arithmetic",
            "GFLOP/s": figures(p.flops_per_s / 1e9),
            "time": seconds_text(p.seconds),
            "least possible": seconds_text(p.least_seconds),
            "attained": percent_text(p.fraction),
        }
        for name, p in _placed(found, ceilings)
    ]
    return table_of(f"{found.op} under the roofline", rows)


def roofline_data(found: Ladder, ceilings: Ceilings) -> list[dict[str, Any]]:
    """Return the placements as plain data."""
    return [
        {
            "kernel": name,
            "flops": p.flops,
            "bytes_moved": p.bytes_moved,
            "seconds": p.seconds,
            "intensity_flop_per_byte": p.intensity,
            "ridge_flop_per_byte": p.roof.ridge,
            "bound": p.bound,
            "level": p.roof.level,
            "fraction_of_attainable": p.fraction,
        }
        for name, p in _placed(found, ceilings)
    ]


@click.command()
@click.argument("op")
@click.option("--size", default=None, help="A size of the op, e.g. 512 (see `tito ops OP`).")
@click.option("--png", default=None, type=click.Path(path_type=Path), help="Draw it to this file.")
@options.dtype
@options.seconds
@options.threads
@options.as_json
def roofline(op: str, png: Path | None, **chosen: Any) -> None:
    """Place each rung of OP under this machine's roofline.

    \b
    Example: tito roofline matmul --png roofline.png
    """
    described = ops.get(op)
    dtype = options.dtype_of(described, chosen["dtype"])
    if chosen["size"]:
        described.size(chosen["size"])
    with progress(f"roofline {op}") as update:
        ceilings = measured.ceilings(progress=update)
        if dtype not in ceilings.gflops_per_s:
            raise InvalidValue(f"no peak of {dtype} is measured, so {op} has no roof")
        found = ladder.climb(
            op, update, dtype=dtype, size=chosen["size"], seconds=chosen["seconds"]
        )
    if png is not None:
        write_png(roofline_spec(found, ceilings), png)
    emit(roofline_data(found, ceilings), [placement_table(found, ceilings)], chosen["as_json"])
    if png is not None and not chosen["as_json"]:
        say(f"drawn: {png}")
