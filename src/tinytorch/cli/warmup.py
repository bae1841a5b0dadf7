"""tito warmup."""

from __future__ import annotations

import time

import click

from tinytorch.cli.console import progress, say
from tinytorch.kernels import warm
from tinytorch.measure.units import seconds_text
from tinytorch.native import codecache, threads


@click.command()
@click.argument("op", nargs=-1)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    help="How many compile at once.  [default: one a core]",
)
def warmup(op: tuple[str, ...], processes: int | None) -> None:
    """Compile all kernels, or those of OP, and keep them.

    OP is an op, one kernel of it (matmul/packed), or what whole models run on: encoder, decoder.

    \b
    Example: tito warmup matmul gelu
    """
    start = time.perf_counter()
    with progress("compiling") as update:
        ran = warm.warmup(
            op or None, on_kernel=update, processes=processes or threads.usable_cpus()
        )
    kept = codecache.folder()
    where = f"kept in {kept}" if kept else "not kept: the cache folder can't be written"
    say(f"{ran} calls of kernels ready in {seconds_text(time.perf_counter() - start)}; {where}")
