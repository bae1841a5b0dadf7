"""tito bench sparse: time against the share of zeros, with the crossover marked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinytorch.cli.console import emit, progress, say
from tinytorch.errors import InvalidValue
from tinytorch.measure import charts
from tinytorch.measure.clock import Effort
from tinytorch.measure.report import Spec, Table, table_of, write_png
from tinytorch.measure.units import interval_text, ratio_text
from tinytorch.perf.compression.sweep import DENSE, Crossover, Layer, Point, crossover, sweep

_DEFAULT = Layer(256, 768, 3072)
# The terminal's picture: a bar of this many signs is as fast as dense.
_EVEN, _WIDEST = 10, 60


def _layers(sizes: str | None) -> list[Layer]:
    found = []
    for word in (sizes or "").split(","):
        parts = word.strip().split("x")
        if word.strip():
            if len(parts) != 3 or not all(part.isdigit() and int(part) for part in parts):
                raise InvalidValue(
                    f"a size of `tito bench sparse` is tokens x inputs x outputs, such as "
                    f"{_DEFAULT}; got {word!r}"
                )
            found.append(Layer(*map(int, parts)))
    return found or [_DEFAULT]


def _names(points: Sequence[Point]) -> list[str]:
    return [name for name in points[0].taken if name != DENSE]


def crossover_text(found: Crossover) -> str:
    """Return a crossover as a table shows it."""
    if found.share is None:
        return "never, as far as measured"
    if found.is_first:
        return f"{found.share:.1%} or less" if found.share else "at any share"
    low, high = (f"{end:.1%}" if end is not None else "?" for end in (found.low, found.high))
    return f"{found.share:.1%} ({low} .. {high})"


def sweep_tables(layer: Layer, points: Sequence[Point]) -> list[Table]:
    """Return the times of a sweep, and each format's speed-up over dense."""
    times, speedups = [], []
    for point in points:
        zeros = {"zeros": f"{point.zeros:.0%}"}
        taken = {name: interval_text(m.interval) for name, m in point.taken.items()}
        times.append({**zeros, DENSE: taken.pop(DENSE), **taken})
        speedups.append({**zeros, **{n: ratio_text(point.speedup(n)) for n in _names(points)}})
    title = f"sparse {layer}"
    return [
        table_of(f"{title}: time", times),
        table_of(f"{title}: speed-up over dense", speedups),
    ]


def crossover_table(layer: Layer, points: Sequence[Point]) -> Table:
    """Return from which share of zeros each format beats dense."""
    rows = [
        {"format": name, "faster than dense from": crossover_text(crossover(points, name))}
        for name in _names(points)
    ]
    notes = ("zeros are single weights at random for CSR, whole blocks for blocks",)
    return table_of(f"sparse {layer}: zeros pay", rows, notes)


def picture(points: Sequence[Point]) -> list[str]:
    """Return bars of the speed-up over dense, one a share of zeros, a `|` where dense stands."""
    lines = []
    for name in _names(points):
        lines.append(f"  {name}: speed-up over dense ({_EVEN} signs are as fast)")
        for point in points:
            value = point.speedup(name).median
            long = round(_EVEN * value)
            bar = list(("#" * min(long, _WIDEST)).ljust(_EVEN + 1))
            bar[_EVEN] = "|"
            over = "..." if long > _WIDEST else ""
            lines.append(f"  {point.zeros:>5.0%} {''.join(bar)}{over} {value:.2f}x")
    return lines


def sweep_spec(points: Sequence[Point]) -> Spec:
    """Return the chart of a sweep: times over zeros, and a rule at each crossover."""
    rows = [
        (name, 100 * point.zeros, 1e3 * measured.median)
        for name in (DENSE, *_names(points))
        for point in points
        for measured in (point.taken[name],)
    ]
    marks = []
    for name in _names(points):
        found = crossover(points, name)
        if found.share is not None and not found.is_first:
            ends = (found.low, found.high)
            low, high = (100 * (found.share if end is None else end) for end in ends)
            marks.append((name, 100 * found.share, low, high))
    return charts.crossings(rows, marks, "zeros in the weight (%)", "time of a call (ms)")


def sweep_data(layer: Layer, points: Sequence[Point]) -> dict[str, Any]:
    """Return a sweep as plain data."""
    return {
        "layer": vars(layer),
        "crossovers": {name: vars(crossover(points, name)) for name in _names(points)},
        "points": [
            {
                "zeros": point.zeros,
                "speedups": {n: point.speedup(n).to_dict() for n in _names(points)},
                "measurements": {n: m.to_dict() for n, m in point.taken.items()},
            }
            for point in points
        ],
    }


def bench_sparse(
    sizes: str | None, effort: Effort, *, png: Path | None, with_scipy: bool, as_json: bool
) -> None:
    """Sweep over the share of zeros for each size, and print and draw what came of it."""
    layers = _layers(sizes)
    if png is not None and len(layers) > 1:
        raise InvalidValue(f"one size a chart: --png with {len(layers)} sizes")
    data, tables, drawings = [], [], []
    with progress("bench sparse") as update:
        for layer in layers:
            points = sweep(layer, effort=effort, with_scipy=with_scipy, on_share=update)
            data.append(sweep_data(layer, points))
            tables += [*sweep_tables(layer, points), crossover_table(layer, points)]
            drawings += picture(points)
    if png is not None:
        write_png(sweep_spec(points), png)
    emit(data, tables, as_json)
    if not as_json:
        say(*drawings)
        if png is not None:
            say(f"drawn: {png}")
