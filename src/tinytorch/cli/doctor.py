"""tito doctor."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from tinytorch import config, ops
from tinytorch.cli import options
from tinytorch.cli.console import emit, progress
from tinytorch.errors import VerificationError
from tinytorch.kernels import conformance, registry
from tinytorch.kernels.registry import Kernel
from tinytorch.measure.report import Table, table_of


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, whether it is well, and what was seen."""

    check: str
    ok: bool
    seen: str


def _cache() -> Finding:
    from tinytorch.native import codecache

    kept = codecache.folder()
    return Finding("compiled code is kept", kept is not None, str(kept or config.cache_dir()))


def _pools() -> Finding:
    from tinytorch.native import codecache

    described = ops.get("relu")
    registry.get("relu", "parallel").function(*described.inputs(described.size("1K").shapes))
    layer = codecache.numba().threading_layer()
    policy = os.environ.get("OMP_WAIT_POLICY", "unset")
    ok = layer != "omp" or policy.lower() == "passive"
    return Finding("thread pools live side by side", ok, f"{layer}, idle OpenMP workers: {policy}")


def _tuning() -> Finding:
    from tinytorch.backends.auto import AUTO

    count = len(list(AUTO.table.entries()))
    return Finding("tuning table", True, f"{count} decisions (`tito tune` measures them)")


def _optional(library: str, purpose: str) -> Finding:
    there = importlib.util.find_spec(library) is not None
    return Finding(purpose, True, library if there else f"{library} is not installed (optional)")


def _surroundings() -> Iterator[Finding]:
    yield _cache()
    yield _pools()
    yield _tuning()
    yield _optional("sklearn", "handwritten digits of `tito journey`")


def conformance_of(kernel: Kernel) -> tuple[Finding, list[str]]:
    """Run a kernel over its op's whole suite; return the finding and every failing case."""
    cases = list(conformance.run(kernel))
    wrong = [str(case) for case in cases if not case.check.ok]
    ran = sum(case.refused is None for case in cases)
    worst = max((case.check.worst for case in cases if case.check.ok), default=0.0)
    if not ran:
        wrong = [f"{kernel.op}/{kernel.name}: takes none of the op's inputs"]
    seen = f"{ran} cases, largest error {worst:.2f} of its bound"
    if wrong:
        seen = f"{len(wrong)} of {ran} cases wrong, first: {wrong[0]}"
    return Finding(f"{kernel.op}/{kernel.name}", not wrong, seen), wrong


def _judge(
    kernels: list[Kernel], update: Callable[[str, float], None]
) -> tuple[list[Finding], list[str]]:
    findings, wrong = [], []
    for i, kernel in enumerate(kernels):
        update(f"{kernel.op}/{kernel.name}", i / len(kernels))
        finding, cases = conformance_of(kernel)
        findings.append(finding)
        wrong += cases
    return findings, wrong


def _table(title: str, findings: list[Finding], notes: list[str]) -> Table:
    rows = [{"check": f.check, "": "ok" if f.ok else "FAILED", "seen": f.seen} for f in findings]
    return table_of(title, rows, notes)


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@options.as_json
def doctor(file: Path | None, as_json: bool) -> None:
    """Check this installation, or the kernels of your FILE.

    Every kernel is run on every case of its op's suite.

    \b
    Examples: tito doctor
              tito doctor mykernel.py
    """
    if file is None:
        kernels = [rung for name in ops.names() for rung in registry.ladder(name)]
        around = list(_surroundings())
    else:
        kernels = list(registry.load_file(file.resolve()))
        around = []
    with progress("checking") as update:
        findings, wrong = _judge(kernels, update)
    everything = [*around, *findings]
    notes = wrong[:20] + ([f"... and {len(wrong) - 20} more"] if len(wrong) > 20 else [])
    emit([asdict(f) for f in everything], [_table("Doctor", everything, notes)], as_json)
    failed = [f.check for f in everything if not f.ok]
    if failed:
        raise VerificationError(f"{len(failed)} check(s) failed: {', '.join(failed)}")
