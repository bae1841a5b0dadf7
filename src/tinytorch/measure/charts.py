"""Charts as Vega-Lite specs, made with Altair: drawn alike as PNG and in the HTML report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tinytorch.measure.report import Spec
from tinytorch.measure.roofline import Placement

_WIDTH, _HEIGHT = 640, 380
# How far apart labels stand on a logarithmic axis of about five decades: a line of text.
_LABEL_STEP = 1.35
_INK, _SOFT, _LINE, _ACCENT = "#1d2430", "#5b6675", "#d9dee6", "#2a5bd7"


@dataclass(frozen=True)
class Line:
    """One ceiling of a roofline chart: horizontal (FLOP/s) or a slope (bytes/s), with its name."""

    name: str
    flops_per_s: float | None = None
    bytes_per_s: float | None = None


_ROOF_COLOURS = ("#1d2430", "#8a94a3", "#b3261e", "#d9702b", "#d9a72b", "#5f9e4d", "#3b8ea5")


def _decades(low: float, high: float) -> list[float]:
    """Return the powers of ten within a range, for ticks that don't crowd a logarithmic axis."""
    return [10.0**e for e in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]


def _data(values: list[dict[str, Any]]) -> Any:
    import altair as alt

    return alt.InlineData(values=values)


def _finish(chart: Any) -> Spec:
    # NOTE: `configure` replaces what the other configure_* methods set, so it comes first.
    styled = (
        chart.configure(font="sans-serif", background="white")
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=_SOFT,
            titleColor=_INK,
            titleFontWeight="normal",
            gridColor="#eef1f5",
            domainColor=_LINE,
            tickColor=_LINE,
        )
        .configure_legend(labelColor=_SOFT, titleColor=_INK, titleFontWeight="normal")
    )
    spec: Spec = styled.to_dict()
    return spec


def _roof_rows(lines: Iterable[Line], peak: float, low: float, high: float) -> list[dict[str, Any]]:
    rows = []
    for line in lines:
        if line.flops_per_s is not None:
            ends = [(low, line.flops_per_s), (high, line.flops_per_s)]
        else:
            assert line.bytes_per_s is not None
            ridge = peak / line.bytes_per_s
            ends = [
                (low, low * line.bytes_per_s),
                (min(ridge, high), min(ridge, high) * line.bytes_per_s),
            ]
        rows += [{"roof": line.name, "x": x, "y": y / 1e9} for x, y in ends]
    return rows


def _set_label_heights(placed: list[dict[str, Any]]) -> None:
    """Give each label a height of its own: its point's, or as far above the one below as it needs.

    Labels beside each other (more than half a decade apart in x) don't get in each other's way.
    """
    set_already: list[dict[str, Any]] = []
    for row in sorted(placed, key=lambda row: row["y"]):
        near = [o for o in set_already if abs(math.log10(row["x"] / o["x"])) < 0.5]
        row["label"] = max([row["y"], *(o["label"] * _LABEL_STEP for o in near)])
        set_already.append(row)


def roofline(lines: Sequence[Line], points: Sequence[tuple[str, Placement]]) -> Spec:
    """Draw kernels under their machine's ceilings, with the ladder as a path from rung to rung.

    Axes: FLOP per byte of compulsory traffic, and GFLOP/s; both logarithmic.
    """
    import altair as alt

    peak = max((line.flops_per_s for line in lines if line.flops_per_s), default=1e9)
    intensities = [p.intensity for _, p in points]
    ridges = [peak / line.bytes_per_s for line in lines if line.bytes_per_s]
    low = min([*intensities, *ridges]) / 4
    high = max([*intensities, *ridges]) * 4
    placed: list[dict[str, Any]] = [
        {
            "kernel": name,
            "x": p.intensity,
            "y": p.flops_per_s / 1e9,
            "attained": f"{100 * p.fraction:.3g} %",
            "bound": p.bound,
            "order": i,
        }
        for i, (name, p) in enumerate(points)
    ]
    _set_label_heights(placed)
    floor = min([row["y"] for row in placed] or [1.0]) / 3
    x = alt.X(
        "x:Q",
        title="arithmetic intensity (FLOP per byte of compulsory traffic)",
        axis=alt.Axis(values=_decades(low, high), format="~g"),
    ).scale(type="log", domain=[low, high], nice=False)
    top = peak / 1e9 * 2
    y = alt.Y(
        "y:Q", title="GFLOP/s", axis=alt.Axis(values=_decades(floor, top), format="~g")
    ).scale(type="log", domain=[floor, top], nice=False)
    roofs = _data(_roof_rows(lines, peak, low, high))
    roof = (
        alt.Chart(roofs)
        .mark_line(strokeWidth=1.6, clip=True)
        .encode(
            x=x,
            y=y,
            color=alt.Color("roof:N", title="measured ceiling").scale(
                domain=[line.name for line in lines], range=list(_ROOF_COLOURS[: len(lines)])
            ),
        )
    )
    base = alt.Chart(_data(placed)).encode(x=x, y=y)
    path = base.mark_line(color=_SOFT, strokeDash=[3, 3], strokeWidth=1).encode(order="order:Q")
    dots = base.mark_point(filled=True, size=80, color=_ACCENT, opacity=1).encode(
        tooltip=["kernel:N", "x:Q", "y:Q", "attained:N", "bound:N"]
    )
    labels = base.mark_text(align="left", dx=9, fontSize=11, color=_INK).encode(
        text="kernel:N", y=alt.Y("label:Q").scale(type="log", domain=[floor, top], nice=False)
    )
    return _finish(alt.layer(roof, path, dots, labels).properties(width=_WIDTH, height=_HEIGHT))


def bars(
    rows: Sequence[tuple[str, float]],
    title: str,
    *,
    logarithmic: bool = False,
    marked: str | None = None,
) -> Spec:
    """Draw one bar a row, in the given order; `marked` is drawn in the accent colour."""
    import altair as alt

    data = [{"name": n, "value": v, "text": f"{v:,.3g}", "marked": n == marked} for n, v in rows]
    least = min((v for _, v in rows if v > 0), default=1.0)
    scale = alt.Scale(type="log", domainMin=least / 2) if logarithmic else alt.Scale(zero=True)
    base = alt.Chart(_data(data)).encode(
        y=alt.Y("name:N", title=None, sort=None),
        x=alt.X("value:Q", title=title, scale=scale),
    )
    colour = alt.condition("datum.marked", alt.value(_ACCENT), alt.value("#9db4ea"))
    start = alt.X2Datum(least / 2) if logarithmic else alt.X2Datum(0)
    drawn = base.mark_bar(height=16).encode(color=colour, x2=start, tooltip=["name:N", "value:Q"])
    labels = base.mark_text(align="left", dx=5, color=_INK, fontSize=11).encode(text="text:N")
    return _finish((drawn + labels).properties(width=_WIDTH - 80, height=26 * max(1, len(rows))))


_DASHES = [[1, 0], [8, 6], [2, 4], [8, 3, 2, 3], [4, 4], [12, 3]]
Rows = Sequence[tuple[str, float, float]]


def _lines(rows: Rows, x: Any, y: Any, dots: bool) -> Any:
    """Return a line a series; each has dashes of its own, for one may lie on another."""
    import altair as alt

    order = list(dict.fromkeys(s for s, _, _ in rows))
    # NOTE: else a band that shares the colours would lend the legend its opacity.
    legend = alt.Legend(symbolType="stroke", symbolOpacity=1, symbolStrokeWidth=2)
    return (
        alt.Chart(_data([{"series": s, "x": x, "y": y} for s, x, y in rows]))
        .mark_line(point=dots, strokeWidth=1.8)
        .encode(
            x=x,
            y=y,
            color=alt.Color("series:N", title=None, legend=legend).scale(domain=order),
            strokeDash=alt.StrokeDash("series:N", title=None).scale(domain=order, range=_DASHES),
            tooltip=["series:N", "x:Q", "y:Q"],
        )
    )


def lines(
    rows: Rows,
    x_title: str,
    y_title: str,
    *,
    log_x: bool = True,
    log_y: bool = True,
    dots: bool = True,
) -> Spec:
    """Draw one line a series, with a dot on each point unless they are many.

    rows are (series, x, y).
    """
    import altair as alt

    x = alt.X("x:Q", title=x_title).scale(type="log" if log_x else "linear")
    y = alt.Y("y:Q", title=y_title).scale(type="log" if log_y else "linear")
    return _finish(_lines(rows, x, y, dots).properties(width=_WIDTH, height=_HEIGHT))


def crossings(
    rows: Rows,
    marks: Sequence[tuple[str, float, float, float]],
    x_title: str,
    y_title: str,
) -> Spec:
    """Draw one line a series over a plain x axis, and where some of them cross the first one.

    rows are (series, x, y), y on a logarithmic axis; marks are (series, x, and its interval): a
    rule in the series' colour, and a band as wide as the interval.
    """
    import altair as alt

    x, y = alt.X("x:Q", title=x_title), alt.Y("y:Q", title=y_title).scale(type="log")
    drawn = _lines(rows, x, y, dots=True)
    base = alt.Chart(
        _data([{"series": s, "x": x, "low": a, "high": b} for s, x, a, b in marks])
    ).encode(color=drawn.encoding.color, tooltip=["series:N", "x:Q", "low:Q", "high:Q"])
    bands = base.mark_rect(opacity=0.15).encode(x=alt.X("low:Q", title=x_title), x2="high:Q")
    rules = base.mark_rule(strokeDash=[4, 3]).encode(x=x)
    return _finish(alt.layer(bands, rules, drawn).properties(width=_WIDTH, height=_HEIGHT))


def ratios(rows: Sequence[tuple[str, str, float]], title: str) -> Spec:
    """Draw a line of dots a case, one dot a series, on a logarithmic axis with a rule at 1.

    Rows are (case, series, ratio); cases stand in the order of their first rows.
    """
    import altair as alt

    data = [{"case": c, "series": s, "ratio": r} for c, s, r in rows]
    cases = list(dict.fromkeys(c for c, _, _ in rows))
    series = sorted({s for _, s, _ in rows})
    low, high = (f(r for _, _, r in rows) for f in (min, max))
    domain = [min(low, 1.0) / 1.2, max(high, 1.0) * 1.2]
    x = alt.X("ratio:Q", title=title).scale(type="log", domain=domain, nice=False)
    dots = (
        alt.Chart(_data(data))
        .mark_point(filled=True, size=70, opacity=0.9)
        .encode(
            x=x,
            y=alt.Y("case:N", title=None, sort=cases, axis=alt.Axis(grid=True, labelLimit=320)),
            color=alt.Color("series:N", title=None).scale(domain=series),
            shape=alt.Shape("series:N", title=None).scale(domain=series),
            tooltip=["case:N", "series:N", "ratio:Q"],
        )
    )
    even = alt.Chart(_data([{"ratio": 1.0}])).mark_rule(color=_INK, strokeWidth=1.2).encode(x=x)
    height = 20 * max(3, len(cases))
    return _finish(alt.layer(even, dots).properties(width=_WIDTH - 120, height=height))


def frontier(rows: Sequence[tuple[str, float, float, bool]], x_title: str, y_title: str) -> Spec:
    """Draw named points, those that no other beats in both directions joined: a Pareto frontier.

    rows are (name, x, y, whether it is on the frontier).
    """
    import altair as alt

    data = [{"name": n, "x": x, "y": y, "best": best} for n, x, y, best in rows]
    x = alt.X("x:Q", title=x_title).scale(zero=False, padding=30)
    base = alt.Chart(_data(data)).encode(x=x, y=alt.Y("y:Q", title=y_title).scale(zero=False))
    joined = (
        base.transform_filter("datum.best")
        .mark_line(color=_ACCENT, interpolate="step-after")
        .encode(order="x:Q")
    )
    colour = alt.condition("datum.best", alt.value(_ACCENT), alt.value(_SOFT))
    dots = base.mark_point(filled=True, size=80, opacity=1).encode(
        color=colour, tooltip=["name:N", "x:Q", "y:Q"]
    )
    labels = base.mark_text(align="left", dx=9, dy=-6, fontSize=11, color=_INK).encode(
        text="name:N"
    )
    return _finish((joined + dots + labels).properties(width=_WIDTH, height=_HEIGHT))
