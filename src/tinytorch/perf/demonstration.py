"""The ladders of what a transformer runs as one short table, printed and returned as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinytorch.measure.units import figures, seconds_text

if TYPE_CHECKING:
    from tinytorch.backends.ladders import LadderRow

LADDERS = (
    ("matmul", "512"),
    ("gelu", "1M"),
    ("softmax", "1024x1024"),
    ("layer_norm", "1024x1024"),
)


def final_performance_test(seconds: float = 0.2) -> list[dict[str, Any]]:
    """Run every rung of each ladder in `LADDERS`; print the table, and return it as data.

    `seconds` is the budget for timing one rung. Each is verified first, and runs at the size that
    its row names; a rung that failed has a reason and no time. Times are in seconds.
    """
    # NOTE: not above: who calls one kernel of `perf.acceleration` doesn't wait for all that times.
    from tinytorch.backends.ladders import run_ladder

    rows = []
    for op, size in LADDERS:
        rows += [_summary(op, row) for row in run_ladder(op, size=size, seconds=seconds).rows]
    _show(rows)
    return rows


def _summary(op: str, row: LadderRow) -> dict[str, Any]:
    taken, speedup = row.measurement, row.speedup_over_naive
    return {
        "op": op,
        "kernel": row.kernel,
        "size": row.size,
        "verified": row.check.ok and row.refused is None,
        "reason": row.refused or row.check.reason,
        "error_share_of_bound": row.check.worst,
        "median_seconds": taken.median if taken else None,
        "interval_seconds": (taken.interval.low, taken.interval.high) if taken else None,
        "gflops_per_s": row.gflops_per_s,
        "gb_per_s": row.gb_per_s,
        "speedup_over_naive": speedup.median if speedup else None,
        "speedup_interval": (speedup.low, speedup.high) if speedup else None,
        "speedup_size": row.speedup_size,
    }


def _show(rows: list[dict[str, Any]]) -> None:
    print(f"{'op':12}{'kernel':12}{'size':>11}{'time':>12}{'GFLOP/s':>10}  speed-up over naive")
    for row in rows:
        start = f"{row['op']:12}{row['kernel']:12}{row['size']:>11}"
        if row["median_seconds"] is None:
            print(f"{start}  not timed: {row['reason']}")
            continue
        ratio = row["speedup_over_naive"]
        faster = f"{figures(ratio)}x at size {row['speedup_size']}" if ratio else "-"
        time, speed = seconds_text(row["median_seconds"]), figures(row["gflops_per_s"])
        print(f"{start}{time:>12}{speed:>10}  {faster}")
