"""tito compare."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from tinytorch import ops
from tinytorch.cli import options
from tinytorch.cli.console import emit
from tinytorch.errors import InvalidValue
from tinytorch.kernels.registry import Kernel
from tinytorch.measure.clock import Comparison, Effort
from tinytorch.measure.clock import compare as measure_pair
from tinytorch.measure.report import Table, table_of
from tinytorch.measure.units import interval_text, ratio_text
from tinytorch.ops.verify import run_checked

_SAYS = {
    "faster": "B is faster than A",
    "slower": "B is slower than A",
    "same": "B and A are as fast as each other (within 3 %)",
    "unresolved": "unresolved: raise --seconds, or quieten the machine",
}


def _kernel(word: str) -> Kernel | None:
    """Return the kernel that OP/KERNEL or OP/FILE.py names; None for a Python callable."""
    if ":" in word and "/" not in word:
        return None
    op, _, name = word.partition("/")
    if not name:
        raise InvalidValue(f"give OP/KERNEL (matmul/library) or MODULE:FUNCTION, got {word!r}")
    found = options.kernels_of(ops.get(op).name, name)
    assert found
    return found[0]


def _verified_call(
    kernel: Kernel, size: str | None, dtype: str | None, params: str | None
) -> Callable[[], Any]:
    op = ops.get(kernel.op)
    shapes = op.size(size).shapes if size else op.ladder[len(op.ladder) // 2].shapes
    arrays = op.inputs(shapes, options.dtype_of(op, dtype))
    refused = kernel.refuses(arrays)
    if refused:
        raise InvalidValue(f"{kernel.op}/{kernel.name} {refused}")
    chosen = options.params_of(op, params)
    check = run_checked(op, kernel.function, arrays, chosen)
    check.require(f"{kernel.op}/{kernel.name}")
    return functools.partial(kernel.function, *arrays, **chosen)


def comparison_table(found: Comparison) -> Table:
    """Return both sides and the verdict."""
    rows = [
        {"": side, "what": m.name, "seconds": interval_text(m.interval), "stopped by": m.stopped}
        for side, m in (("A", found.baseline), ("B", found.candidate))
    ]
    criticisms = {c for m in (found.baseline, found.candidate) for c in m.criticisms}
    notes = [
        f"A / B = {ratio_text(found.ratio)}: {_SAYS[found.verdict]}",
        *(f"shaky ({c.rule}): {c.advice}" for c in criticisms),
    ]
    return table_of("Compared in turns", rows, notes)


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--size", default=None, help="A size of the op, e.g. 512 (see `tito ops OP`).")
@click.option("--cold", is_flag=True, help="Empty the caches before each sample.")
@options.dtype
@options.params
@options.seconds
@options.threads
@options.as_json
def compare(a: str, b: str, **chosen: Any) -> None:
    """Say which of A and B is faster, and by how much.

    Each is OP/KERNEL, OP/FILE.py or MODULE:FUNCTION. Kernels are verified first; samples are taken
    in turns, and the ratio has an interval.

    \b
    Example: tito compare matmul/blocked matmul/library --size 512
    """
    kernels = [_kernel(word) for word in (a, b)]
    calls = [
        _verified_call(k, chosen["size"], chosen["dtype"], chosen["params_text"])
        if k
        else options.callable_at(word)
        for word, k in zip((a, b), kernels, strict=True)
    ]
    if kernels[0] and kernels[1] and kernels[0].op != kernels[1].op:
        raise InvalidValue(f"A computes {kernels[0].op} and B computes {kernels[1].op}")
    found = measure_pair(
        *calls,
        names=(a, b),
        effort=Effort(seconds=chosen["seconds"]),
        cache="cold" if chosen["cold"] else "hot",
    )
    emit(found.to_dict(), [comparison_table(found)], chosen["as_json"])
