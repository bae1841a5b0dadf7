"""The speed bars that the project holds itself to, measured here and now: `make bench`.

Each is a ratio of samples taken in turns, or a difference of medians; a bar that is missed is
shown as missed, and the exit code is 1. The data go to reports/holds.json.
"""

from __future__ import annotations

import functools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tinytorch import backends, ops
from tinytorch.backends import tuner
from tinytorch.backends.auto import AUTO, AutoBackend
from tinytorch.backends.base import ComputeBackend
from tinytorch.backends.builtin import FixedBackend
from tinytorch.cli.console import show, warn
from tinytorch.kernels import registry
from tinytorch.kernels.outputs import aligned_empty
from tinytorch.measure.clock import Effort, compare, race
from tinytorch.measure.memory import measure_memory
from tinytorch.measure.report import table_of
from tinytorch.measure.stats import ratio_interval
from tinytorch.measure.units import figures, ratio_text, seconds_text
from tinytorch.ops.verify import run_checked

STEADY = Effort(seconds=2.0, relative_width=0.02, min_rounds=15)


@dataclass(frozen=True)
class Bar:
    """One bar: what must hold, what was measured, and whether it held."""

    name: str
    bar: str
    measured: str
    held: bool


def import_time() -> Iterator[Bar]:
    """`import tinytorch` beside `import numpy` alone, each in fresh processes, in turns."""

    def seconds(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    pairs = [(seconds("import numpy"), seconds("import numpy, tinytorch")) for _ in range(11)]
    extra = statistics.median(after - before for before, after in pairs)
    yield Bar("import tinytorch, beyond NumPy", "< 0.15 s", seconds_text(extra), extra < 0.15)


class _NullChoice(AutoBackend):
    """`auto`, except that it chooses the kernel that computes nothing."""

    choose = backends.get("null").choose  # type: ignore[assignment]


def dispatch() -> Iterator[Bar]:
    """`auto`'s dispatch against a direct call of the function that it calls."""
    a = np.ones((8, 8), np.float32)
    auto = _NullChoice()
    direct = auto.choose("matmul", (a, a), {}).function
    found = compare(lambda: direct(a, a), lambda: auto.dispatch("matmul", a, a), effort=STEADY)
    extra = statistics.median(
        after - before
        for before, after in zip(found.baseline.seconds, found.candidate.seconds, strict=True)
    )
    yield Bar("dispatch through auto", "<= 1 us", seconds_text(extra), extra <= 1e-6)


def auto_is_best(op: str) -> Iterator[Bar]:
    """After tuning, `auto` against every kernel that takes the inputs, at each ladder size.

    Each kernel stands in a backend of its own, and numpy is the backend of that name: all are
    called alike, through dispatch, whose cost has its own bar.
    """
    described = ops.get(op)
    for size in described.ladder:
        arrays = described.inputs(size.shapes)
        tuner.tune_call(AUTO, op, arrays, described.variants[0])
        rivals: dict[str, ComputeBackend] = {"numpy": backends.get("numpy")}
        for rung in tuner.candidates(op, arrays):
            run_checked(described, rung.function, arrays).require(rung.name)
            rivals[rung.name] = FixedBackend(rung.name, "", (rung.name,))
        calls = {
            name: functools.partial(backend.dispatch, op, *arrays)
            for name, backend in {"auto": AUTO, **rivals}.items()
        }
        taken = race(calls, effort=STEADY)
        speed = {n: ratio_interval(taken[n].seconds, taken["auto"].seconds) for n in rivals}
        best = min(rivals, key=lambda name: taken[name].median)
        chosen = AUTO.choose(op, arrays, {}).name
        for rival, bar in ((best, 0.95), ("numpy", 0.97)):
            yield Bar(
                f"auto on {op} {size.name} ({chosen}) / {rival}",
                f">= {bar}",
                ratio_text(speed[rival]),
                speed[rival].median >= bar,
            )


def fused_gelu() -> Iterator[Bar]:
    """Fused GELU over 4M float32 into `out`, against a plain copy of the same array."""
    described = ops.get("gelu")
    (x,) = described.inputs(described.size("4M").shapes)
    out = aligned_empty(x.shape, x.dtype)
    target = aligned_empty(x.shape, x.dtype)
    rung = registry.get("gelu", "parallel")
    run_checked(described, rung.function, (x,), out=out).require("gelu/parallel")
    found = compare(lambda: rung.function(x, out=out), lambda: np.copyto(target, x), effort=STEADY)
    yield Bar(
        "fused gelu, 4M float32 / plain copy",
        "<= 1.35",
        ratio_text(found.ratio),
        found.ratio.median <= 1.35,
    )
    use = measure_memory(rung.function, x, out=out)
    small = use.allocations == 0 and use.peak_bytes < 16384
    yield Bar(
        "fused gelu with out= allocates",
        "nothing",
        f"{use.allocations} arrays, peak {use.peak_bytes} B",
        small,
    )


_MIXED = """
import json, numpy as np
from tinytorch import ops
from tinytorch.kernels import registry
from tinytorch.measure.clock import Effort, race
x = np.random.default_rng(0).standard_normal(200_000).astype(np.float32)
a = np.random.default_rng(1).standard_normal((256, 256)).astype(np.float32)
out, c = np.empty_like(x), np.empty_like(a)
gelu = registry.get("gelu", "parallel").function
library = registry.get("matmul", "library").function
def product(): library(a, a, out=c)
def activation(): gelu(x, out=out)
def both(): product(); activation()
def alone(f):
    return race({"one": f}, effort=Effort(seconds=1, max_rounds=300, sample_seconds=1e-6))["one"]
first, second, mixed = alone(product), alone(activation), alone(both)
for _ in range(300): both()
print(json.dumps([first.median, second.median, mixed.median]))
"""


def mixed_pools() -> Iterator[Bar]:
    """A BLAS product and a fused GELU in alternation, in a fresh process with the defaults."""
    ratios = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", _MIXED], check=True, capture_output=True, text=True
        )
        product, activation, mixed = json.loads(done.stdout)
        ratios.append(mixed / (product + activation))
    median = statistics.median(ratios)
    spread = f"{figures(median)}x ({figures(min(ratios))} .. {figures(max(ratios))})"
    yield Bar("BLAS and fused GELU in turns / sum alone", "<= 1.25", spread, median <= 1.25)


def main() -> int:
    """Measure every bar, show the table, write the data; 1 if a bar was missed."""
    parts: list[Callable[[], Iterator[Bar]]] = [
        import_time,
        dispatch,
        fused_gelu,
        mixed_pools,
        lambda: auto_is_best("gelu"),
        lambda: auto_is_best("matmul"),
    ]
    bars: list[Bar] = []
    for part in parts:
        for bar in part():
            warn(f"{'held  ' if bar.held else 'MISSED'} {bar.name}: {bar.measured} ({bar.bar})")
            bars.append(bar)
    rows = [{**asdict(bar), "held": "yes" if bar.held else "NO"} for bar in bars]
    show(table_of("Bars", rows))  # type: ignore[arg-type]
    path = Path("reports/holds.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps([asdict(bar) for bar in bars], indent=1), encoding="utf-8")
    return int(not all(bar.held for bar in bars))


if __name__ == "__main__":
    sys.exit(main())
