"""tito machine."""

from __future__ import annotations

import click

from tinytorch.cli import options
from tinytorch.cli.console import emit, progress
from tinytorch.measure import ceilings as measured
from tinytorch.measure import machine as detected
from tinytorch.measure.ceilings import Ceilings, Figure
from tinytorch.measure.machine import Machine
from tinytorch.measure.report import Table, table_of
from tinytorch.measure.units import bytes_text, figures


def machine_table(seen: Machine) -> Table:
    """Return what was detected, a fact a row."""
    caches = ", ".join(f"L{c.level} {bytes_text(c.size_bytes)}" for c in seen.data_caches)
    facts = {
        "CPU": seen.cpu_model,
        "SIMD": f"{seen.isa} (compiled for {seen.llvm_cpu})",
        "CPUs usable": f"{seen.usable_cpus} of {seen.logical_cpus}",
        "caches": caches or "could not be read here",
        "memory": bytes_text(seen.memory_bytes),
        "BLAS": seen.blas_text,
        "threads of kernels": seen.threading_layer,
        "versions": ", ".join(f"{k} {v}" for k, v in seen.versions.items()),
        "system": seen.os,
        "fingerprint": detected.fingerprint(),
    }
    return Table("This machine", ("", "found"), tuple(facts.items()))


def _figure(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    return f"{figures(figure.median)} ({figures(figure.low)} .. {figures(figure.high)})"


def ceiling_tables(seen: Ceilings) -> list[Table]:
    """Return the measured peaks and the measured memory levels."""
    peaks = [
        {"dtype": dtype, "threads": str(count), "GFLOP/s": _figure(figure)}
        for dtype, by_threads in seen.gflops_per_s.items()
        for count, figure in by_threads.items()
    ]
    levels = [
        {
            "level": v.name,
            "working set": bytes_text(v.working_set_bytes),
            "read, 1 thread": _figure(v.read_gb_per_s),
            "copy, 1 thread": _figure(v.copy_gb_per_s),
            f"copy, {seen.threads} threads": _figure(v.copy_gb_per_s_all),
            f"triad, {seen.threads} threads": _figure(v.triad_gb_per_s_all),
            "latency (ns)": _figure(v.latency_ns),
        }
        for v in seen.levels
    ]
    notes = (
        "GB/s of 1e9 bytes that the program asks for, as STREAM counts them; a cache that reads a "
        "line before writing it moves a third more for the triad",
        *seen.remarks,
    )
    return [
        table_of("Measured peaks", peaks, ["median and 95 % interval, independent FMA chains"]),
        table_of("Measured memory: GB/s", levels, notes),
    ]


@click.command()
@click.option("--remeasure", is_flag=True, help="Measure the ceilings again.")
@options.threads
@options.as_json
def machine(remeasure: bool, as_json: bool) -> None:
    """Show this machine and its ceilings, measured, not looked up.

    \b
    Example: tito machine --remeasure
    """
    with progress("measuring ceilings") as update:
        found = measured.ceilings(remeasure=remeasure, progress=update)
    seen = detected.detect()
    disturbed = detected.warnings()
    data = {"machine": seen.to_dict(), "ceilings": found.to_dict(), "warnings": disturbed}
    notes = [f"warning: {sentence}" for sentence in disturbed]
    tables = [machine_table(seen), *ceiling_tables(found)]
    tables[-1] = Table(
        tables[-1].title, tables[-1].columns, tables[-1].rows, (*tables[-1].notes, *notes)
    )
    emit(data, tables, as_json)
