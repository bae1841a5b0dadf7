"""Numbers as people read them: three figures and a unit, in plain ASCII."""

from __future__ import annotations

import math

from tinytorch.measure.stats import Interval

_SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_BYTES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def figures(value: float, count: int = 3) -> str:
    """Return a number to `count` significant figures, without an exponent where that is short."""
    if not math.isfinite(value):
        return str(value)
    if value == 0:
        return "0"
    digits = max(0, count - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}" if digits <= 6 else f"{value:.{count - 1}e}"


def seconds_text(seconds: float) -> str:
    """Return 0.00123 as `1.23 ms`."""
    for factor, unit in _SECONDS:
        if abs(seconds) >= factor:
            return f"{figures(seconds / factor)} {unit}"
    return f"{figures(seconds * 1e9)} ns"


def interval_text(interval: Interval) -> str:
    """Return a time with its interval: `1.23 ms (1.20 .. 1.26)`."""
    for factor, unit in _SECONDS:
        if interval.median >= factor or unit == "ns":
            low, middle, high = (
                figures(v / factor) for v in (interval.low, interval.median, interval.high)
            )
            return f"{middle} {unit} ({low} .. {high})"
    raise AssertionError("the last unit takes every time")


def ratio_text(ratio: Interval) -> str:
    """Return a ratio with its interval: `2.31x (2.28 .. 2.35)`."""
    return f"{figures(ratio.median)}x ({figures(ratio.low)} .. {figures(ratio.high)})"


def bytes_text(count: float) -> str:
    """Return 262144 as `256 KiB`."""
    for factor, unit in _BYTES:
        if count >= factor:
            return f"{figures(count / factor)} {unit}"
    return f"{count:.0f} B"


def percent_text(fraction: float) -> str:
    """Return 0.4567 as `45.7 %`."""
    return f"{figures(100 * fraction)} %"
