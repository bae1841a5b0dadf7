"""tito selftest."""

from __future__ import annotations

from dataclasses import asdict

import click

from tinytorch import ops
from tinytorch.cli import options
from tinytorch.cli.console import emit, progress
from tinytorch.kernels import registry
from tinytorch.measure.clock import self_test
from tinytorch.measure.report import table_of
from tinytorch.measure.units import percent_text


@click.command()
@click.option("--comparisons", default=40, show_default=True, help="How often to compare.")
@options.threads
@options.as_json
def selftest(comparisons: int, as_json: bool) -> None:
    """Compare a product with itself: how often is that wrong?

    Every `faster` or `slower` is a false one, so the rate says how far to trust the others.

    \b
    Example: tito selftest --comparisons 100
    """
    described = ops.get("matmul")
    a, b = described.inputs(described.size("128").shapes)
    function = registry.get("matmul", "library").function
    with progress("A against A") as update:
        found = self_test(
            lambda: function(a, b),
            comparisons,
            on_comparison=lambda done: update("comparing", done / comparisons),
        )
    row = {
        "comparisons": str(found.comparisons),
        "false verdicts": str(found.false_verdicts),
        "rate": percent_text(found.rate),
        "unresolved": str(found.unresolved),
        "widest interval": percent_text(found.widest),
    }
    note = "A 95 % interval alone would allow 5 %; differences under 3 % count as the same."
    emit({**asdict(found), "rate": found.rate}, [table_of("Self-test", [row], [note])], as_json)
