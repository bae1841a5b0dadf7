"""tito tune."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

import click

from tinytorch import ops
from tinytorch.backends import auto
from tinytorch.backends.tuning import Entry
from tinytorch.cli import options
from tinytorch.cli.console import emit, progress, say
from tinytorch.measure.report import Table, table_of
from tinytorch.measure.stats import CONFIDENCE, Interval
from tinytorch.measure.units import ratio_text, seconds_text


def tune_ops(
    names: Sequence[str],
    dtype: str | None,
    update: Callable[[str, float], None],
    all_variants: bool = True,
) -> list[Entry]:
    """Decide for every ladder size of the named ops, and return the decisions."""
    from tinytorch.backends import tuner

    work = [
        (op, size, one, params)
        for op in map(ops.get, names)
        for one in ([options.dtype_of(op, dtype)] if dtype else op.dtypes[:1])
        for params in (op.variants if all_variants else op.variants[:1])
        for size in op.ladder
    ]
    entries = []
    for i, (op, size, one, params) in enumerate(work):
        update(f"{op.name} {size.name} {op.params_text(params)}".strip(), i / len(work))
        arrays = op.inputs(size.shapes, one)
        entries.append(tuner.tune_call(auto.AUTO, op.name, arrays, params))
    return entries


def _over_numpy(entry: Entry) -> str:
    if entry.over_numpy is None:
        return "-"
    low, median, high = entry.over_numpy
    same = low == median == high == 1
    return "the same" if same else ratio_text(Interval(low, median, high, CONFIDENCE))


def tuning_table(entries: Sequence[Entry]) -> Table:
    """Return what was chosen, and what that saves against the untuned choice."""
    rows = []
    for entry in entries:
        ratio = Interval(entry.ratio_low, entry.ratio_median, entry.ratio_high, CONFIDENCE)
        rows.append(
            {
                "op": entry.key.op,
                "dtype": entry.key.dtype,
                "params": entry.key.params,
                "shapes": " ".join("x".join(map(str, s)) for s in entry.shapes),
                "untuned": entry.default,
                "chosen": entry.kernel,
                "time": seconds_text(entry.seconds[entry.kernel]),
                "over untuned": "-" if entry.kernel == entry.default else ratio_text(ratio),
                "over numpy": _over_numpy(entry),
            }
        )
    note = "a kernel replaces the untuned choice only when the whole interval proves it faster"
    return table_of("What `auto` chose here", rows, [note])


@click.command()
@click.argument("op", nargs=-1)
@click.option("--show", is_flag=True, help="Show the table as it is; measure nothing.")
@click.option("--clear", is_flag=True, help="Forget everything that was tuned.")
@options.dtype
@options.threads
@options.as_json
def tune(op: tuple[str, ...], show: bool, clear: bool, dtype: str | None, as_json: bool) -> None:
    """Measure which kernel is best for each shape of OP.

    Without OP, all ops are tuned; `auto` uses what is found. What is decided is kept as it is
    found: Ctrl-C loses nothing that was measured.

    \b
    Example: tito tune matmul gelu
    """
    table = auto.AUTO.table
    if clear:
        say(f"{table.clear()} entries forgotten")
        auto.AUTO.forget()
        return
    if show:
        entries = list(table.entries())
    else:
        names = [ops.get(name).name for name in op] or list(ops.names())
        with progress("tuning") as update:
            entries = tune_ops(names, dtype, update)
    emit([asdict(e) for e in entries], [tuning_table(entries)], as_json)
