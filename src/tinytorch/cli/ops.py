"""tito ops."""

from __future__ import annotations

import click

from tinytorch import ops as described
from tinytorch.cli import options
from tinytorch.cli.console import emit
from tinytorch.kernels import registry
from tinytorch.measure.report import table_of


@click.command()
@click.argument("op", required=False)
@options.as_json
def ops(op: str | None, as_json: bool) -> None:
    """List the ops, or explain the ladder of OP.

    \b
    Example: tito ops matmul
    """
    if op is None:
        rows = [
            {
                "op": name,
                "shapes": described.get(name).signature,
                "dtypes": ", ".join(described.get(name).dtypes),
                "rungs": ", ".join(rung.name for rung in registry.ladder(name)),
            }
            for name in described.names()
        ]
        emit(rows, [table_of("Ops", rows, ["`tito ops OP` explains a ladder"])], as_json)
        return
    one = described.get(op)
    rungs = [
        {"rung": rung.name, "above": rung.above or "-", "idea": rung.idea}
        for rung in registry.ladder(op)
    ]
    data = {
        "op": op,
        "shapes": one.signature,
        "tolerance": one.tolerance.why,
        "sizes": [size.name for size in (*one.ladder, *one.sizes)],
        "rungs": rungs,
    }
    notes = [
        f"error bound: {one.tolerance.why}",
        f"sizes: {', '.join(size.name for size in one.ladder)}",
    ]
    emit(data, [table_of(f"The ladder of {op}: {one.signature}", rungs, notes)], as_json)
