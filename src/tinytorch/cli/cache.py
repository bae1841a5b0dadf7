"""tito cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tinytorch import ops
from tinytorch.cli import options
from tinytorch.cli.console import emit
from tinytorch.errors import InvalidValue, MeasurementError
from tinytorch.measure import machine
from tinytorch.measure.report import Table, table_of
from tinytorch.measure.roofline import practical_tile_size
from tinytorch.measure.units import bytes_text, percent_text

if TYPE_CHECKING:
    from tinytorch.measure.cachesim import CacheLevel


STORY_SIZE = 256
EXPLAINED = (
    "In i-j-k order the innermost loop walks down a column of B: each step touches another cache "
    "line, and by the time the next column comes the line is gone. In i-k-j order every line that "
    "is fetched is used whole. Tiles keep what they use in the nearest cache.",
)


def machine_levels() -> list[CacheLevel]:
    """Return this machine's data caches as the simulator wants them, nearest first.

    Raises MeasurementError where the machine does not say what caches it has.
    """
    from tinytorch.measure.cachesim import CacheLevel

    found = machine.detect().data_caches
    levels = [
        CacheLevel(f"L{c.level}", c.size_bytes, c.ways, c.line_bytes)
        for c in found
        if c.ways is not None and c.line_bytes is not None
    ]
    if not levels or len(levels) < len(found):
        raise MeasurementError("this machine does not say how its caches are built")
    return levels


def simulate(n: int, tile: int | None) -> tuple[list[dict[str, object]], Table]:
    """Simulate the three loop nests of an n x n x n float32 product on this machine's caches."""
    from tinytorch.measure.cachesim import ORDERS, simulate_matmul

    levels = machine_levels()
    edge = tile or min(n, practical_tile_size(machine.detect().data_caches[0].size_bytes))
    reports = [
        simulate_matmul(order, (n, n, n), levels, tile=edge if order == "tiled" else None)
        for order in ORDERS
    ]
    rows = []
    for report in reports:
        name = f"tiled ({edge})" if report.order == "tiled" else "-".join(report.order)
        row = {"loop nest": name, "accesses": f"{report.levels[0].accesses:,}"}
        for level in report.levels:
            row[f"{level.level.name} misses"] = f"{level.misses:,}"
            row[f"{level.level.name} miss rate"] = percent_text(level.miss_rate)
        row["from memory"] = bytes_text(report.bytes_from_memory)
        rows.append(row)
    sizes = ", ".join(f"{v.name} {bytes_text(v.size_bytes)} {v.ways}-way" for v in levels)
    notes = [
        f"simulated, not measured: least-recently-used caches of this machine's sizes ({sizes})",
        f"three {n} x {n} float32 matrices take {bytes_text(3 * 4 * n * n)}",
    ]
    table = table_of(f"Simulated cache misses of a {n} x {n} x {n} product", rows, notes)
    return [report.to_dict() for report in reports], table


@click.command()
@click.argument("op", default="matmul")
@click.option("--size", default=STORY_SIZE, show_default=True, help="N of the N x N x N product.")
@click.option("--tile", default=None, type=int, help="Tile edge (default: what fits L1).")
@options.as_json
def cache(op: str, size: int, tile: int | None, as_json: bool) -> None:
    """Simulate OP's loop nests on this machine's caches.

    Which loop order misses, how often, and what that fetches from memory.

    \b
    Example: tito cache matmul --size 512 --tile 64
    """
    ops.get(op)
    if op != "matmul":
        raise InvalidValue(f"loop nests are known for matmul, not for {op}: `tito cache matmul`")
    if not 1 <= size <= 1024:
        raise InvalidValue(f"--size must be from 1 to 1024 (a simulation steps N^3), got {size}")
    data, table = simulate(size, tile)
    emit(data, [table], as_json)
