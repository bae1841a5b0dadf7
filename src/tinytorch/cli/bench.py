"""tito bench."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tinytorch import backends, ops
from tinytorch.cli import options
from tinytorch.cli.console import emit, progress, say
from tinytorch.errors import InvalidValue
from tinytorch.kernels import registry
from tinytorch.kernels.registry import Kernel
from tinytorch.measure.clock import Effort, measure, race
from tinytorch.measure.report import Table, table_of
from tinytorch.measure.sample import Measurement, to_pyperf
from tinytorch.measure.stats import ratio_interval
from tinytorch.measure.units import figures, interval_text, ratio_text, seconds_text
from tinytorch.ops.spec import Array, Op, Params, Size
from tinytorch.ops.verify import run_checked


def _contenders(
    op: Op, kernels: list[Kernel] | None, names: list[str]
) -> dict[str, Callable[..., Any]]:
    """Return what to time, by name: kernels, and backends as `backend NAME`."""
    chosen = kernels or (
        [] if names else [k for k in registry.ladder(op.name) if not k.interpreted]
    )
    found: dict[str, Callable[..., Any]] = {k.name: k.function for k in chosen}
    for name in names:
        backend = backends.get(name)
        found[f"backend {name}"] = functools.partial(backend.dispatch, op.name)
    return found


def _takes(op: Op, name: str, kernels: list[Kernel] | None, arrays: tuple[Array, ...]) -> bool:
    by_name = {k.name: k for k in kernels or registry.ladder(op.name)}
    return name not in by_name or by_name[name].refuses(arrays) is None


def bench_size(
    op: Op,
    size: Size,
    dtype: str,
    params: Params,
    contenders: dict[str, Callable[..., Any]],
    kernels: list[Kernel] | None,
    effort: Effort,
    cold: bool,
) -> dict[str, Measurement]:
    """Verify, then time in turns, every contender that takes the inputs of one size."""
    arrays = op.inputs(size.shapes, dtype)
    calls = {}
    metadata = {}
    cost = op.cost(size.shapes, dtype, params)
    for name, function in contenders.items():
        if not _takes(op, name, kernels, arrays):
            continue
        check = run_checked(op, function, arrays, params).require(f"{op.name}/{name}")
        calls[name] = functools.partial(function, *arrays, **params)
        metadata[name] = {
            "op": op.name,
            "size": size.name,
            "shapes": size.shapes,
            "dtype": dtype,
            "params": dict(params),
            "flops": cost.flops,
            "bytes_moved": cost.bytes_moved,
            "error_share_of_bound": check.worst,
        }
    if not calls:
        raise InvalidValue(f"nothing chosen takes {op.name} of {dtype} at size {size.name}")
    return race(calls, effort=effort, cache="cold" if cold else "hot", metadata=metadata)


def size_table(op: Op, size: Size, taken: dict[str, Measurement]) -> Table:
    """Return one size's measurements, each against the first."""
    base = next(iter(taken.values()))
    rows = []
    for name, m in taken.items():
        ratio = ratio_interval(base.seconds, m.seconds)
        rows.append(
            {
                "kernel": name,
                "time": interval_text(m.interval),
                "GFLOP/s": figures(m.metadata["flops"] / m.median / 1e9),
                "GB/s": figures(m.metadata["bytes_moved"] / m.median / 1e9),
                f"speed-up over {base.name}": "1" if m is base else ratio_text(ratio),
                "first call": seconds_text(m.first_call_seconds),
                "shaky": ", ".join(c.rule for c in m.criticisms),
            }
        )
    return table_of(f"{op.name} {size.name}", rows)


def _bench_callable(target: str, effort: Effort, as_json: bool) -> list[Measurement]:
    taken = measure(options.callable_at(target), target, effort=effort)
    row = {
        "function": target,
        "time": interval_text(taken.interval),
        "first call": seconds_text(taken.first_call_seconds),
        "samples": f"{len(taken.seconds)} x {taken.loops} calls",
        "stopped by": taken.stopped,
    }
    notes = [f"shaky ({c.rule}): {c.advice}" for c in taken.criticisms]
    notes.append("not verified: a function of your own has no reference here")
    emit(taken.to_dict(), [table_of("Benchmark", [row], notes)], as_json)
    return [taken]


@click.command()
@click.argument("target")
@click.option("--sizes", default=None, help="Names or shapes: 256,512,300x200:200x100.")
@click.option("--kernels", default=None, help="Rungs or kernel files: library,mine.py.")
@click.option("--backend", default=None, help="Backends to time as a whole: auto,numpy.")
@click.option("--cold", is_flag=True, help="Empty the caches before each sample.")
@click.option("--png", default=None, type=click.Path(path_type=Path), help="sparse: draw it.")
@click.option("--scipy", is_flag=True, help="sparse: SciPy's product too.")
@click.option("--pyperf", default=None, type=click.Path(path_type=Path), help="Also write this.")
@options.dtype
@options.params
@options.seconds
@options.threads
@options.as_json
def bench(target: str, sizes: str | None, kernels: str | None, **chosen: Any) -> None:
    """Time OP's kernels, any MODULE:FUNCTION of yours, or `sparse` layers against dense ones.

    Kernels are verified first; samples are taken in turns and given as medians with intervals.
    `sparse` times a layer over the share of zeros in its weight, and says from which on each sparse
    format is faster than dense; its sizes are tokens x inputs x outputs.

    \b
    Examples: tito bench matmul --sizes 256,1024 --kernels blocked,library
              tito bench gelu --backend auto,numpy --dtype float64
              tito bench mypackage.mymodule:function
              tito bench sparse --sizes 256x768x3072 --png sparse.png
    """
    effort = Effort(seconds=chosen["seconds"])
    if target == "sparse":
        from tinytorch.cli.sparse import bench_sparse  # which loads Numba

        _refuse(target, {"--kernels": kernels, "--backend": chosen["backend"]})
        _refuse(target, {name: chosen[name.strip("-")] for name in ("--cold", "--pyperf")})
        bench_sparse(
            sizes,
            effort,
            png=chosen["png"],
            with_scipy=chosen["scipy"],
            as_json=chosen["as_json"],
        )
        return
    _refuse(target, {name: chosen[name.strip("-")] for name in ("--png", "--scipy")})
    if ":" in target:
        taken = _bench_callable(target, effort, chosen["as_json"])
    else:
        taken = _bench_op(ops.get(target), sizes, kernels, effort, chosen)
    if chosen["pyperf"]:
        chosen["pyperf"].write_text(to_pyperf(taken), encoding="utf-8")
        if not chosen["as_json"]:
            say(f"pyperf file: {chosen['pyperf']}")


def _refuse(target: str, given: dict[str, Any]) -> None:
    """Raise InvalidValue for options that a target has no use for."""
    for name, value in given.items():
        if value:
            raise InvalidValue(f"`tito bench {target}` takes no {name}")


def _bench_op(
    op: Op, sizes: str | None, kernels: str | None, effort: Effort, chosen: dict[str, Any]
) -> list[Measurement]:
    picked = options.kernels_of(op.name, kernels)
    contenders = _contenders(op, picked, options.words(chosen["backend"]))
    dtype = options.dtype_of(op, chosen["dtype"])
    params = options.params_of(op, chosen["params_text"])
    wanted = [op.size(word) for word in options.words(sizes)] or list(op.ladder)
    tables: list[Table] = []
    taken: list[Measurement] = []
    with progress(f"bench {op.name}") as update:
        for i, size in enumerate(wanted):
            update(size.name, i / len(wanted))
            found = bench_size(op, size, dtype, params, contenders, picked, effort, chosen["cold"])
            tables.append(size_table(op, size, found))
            taken += found.values()
    emit([m.to_dict() for m in taken], tables, chosen["as_json"])
    return taken
