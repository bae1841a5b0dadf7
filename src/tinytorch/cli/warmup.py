"""tito warmup."""

from __future__ import annotations

import time

import click

from tinytorch.cli.console import progress, say
from tinytorch.kernels import warm
from tinytorch.measure.units import seconds_text
from tinytorch.native import codecache


@click.command()
@click.argument("op", nargs=-1)
def warmup(op: tuple[str, ...]) -> None:
    """Compile all kernels, or those of OP, and keep them.

    \b
    Example: tito warmup matmul gelu
    """
    start = time.perf_counter()
    with progress("compiling") as update:
        ran = warm.warmup(op or None, on_kernel=update)
    kept = codecache.folder()
    where = f"kept in {kept}" if kept else "not kept: the cache folder can't be written"
    say(f"{ran} kernels ready in {seconds_text(time.perf_counter() - start)}; {where}")
