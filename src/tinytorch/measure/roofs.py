"""Measured ceilings over an op: the roof of one size, and the lines of a chart."""

from __future__ import annotations

from tinytorch.measure.ceilings import Ceilings
from tinytorch.measure.charts import Line
from tinytorch.measure.roofline import Roof

# A working set over this share of a cache does not stay there: other data and uneven sets push it
# out. It is held against the next level.
_KEPT_SHARE = 2 / 3


def roof_for(ceilings: Ceilings, dtype: str, bytes_moved: float) -> Roof | None:
    """Return the roof over a kernel that moves so many bytes again and again, on all threads.

    The memory level is the nearest that keeps them. None where the dtype's peak is not measured.
    """
    if dtype not in ceilings.gflops_per_s:
        return None
    threads = ceilings.threads
    level = ceilings.level_for(bytes_moved / _KEPT_SHARE, threads)
    return Roof(
        ceilings.peak_flops_per_s(dtype, threads),
        ceilings.bandwidth_bytes_per_s(level.name, threads),
        level.name,
    )


def lines_for(ceilings: Ceilings, dtype: str) -> list[Line]:
    """Return the ceilings as lines: peaks of all threads and of one, then each memory level."""
    counts = sorted({ceilings.threads, 1}, reverse=True)
    peaks = [
        Line(
            f"{dtype} peak, {count} thread{'s' if count > 1 else ''}",
            flops_per_s=ceilings.peak_flops_per_s(dtype, count),
        )
        for count in counts
    ]
    levels = [
        Line(f"{v.name} copy", bytes_per_s=ceilings.bandwidth_bytes_per_s(v.name, ceilings.threads))
        for v in ceilings.levels
    ]
    return [*peaks, *levels]
