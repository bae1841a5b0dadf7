"""The speed bars that the project holds itself to, beside no peer: `python benchmarks house`.

Each is a ratio of samples taken in turns, a difference of medians, or a median of whole processes.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import bookkeeping
import numpy as np
import peaks
from process import Setting
from results import Held
from sentences import sentences

from tinytorch import backends, hub, ops
from tinytorch.backends import tuner
from tinytorch.backends.auto import AUTO, AutoBackend
from tinytorch.backends.base import ComputeBackend
from tinytorch.backends.builtin import FixedBackend
from tinytorch.cli.embed import installed_model
from tinytorch.kernels import registry
from tinytorch.kernels.outputs import aligned_empty
from tinytorch.measure.clock import Effort, compare, race
from tinytorch.measure.memory import measure_memory
from tinytorch.measure.stats import median_interval, ratio_interval
from tinytorch.measure.units import figures, interval_text, ratio_text, seconds_text
from tinytorch.ops.verify import run_checked

NAME = "house"
STEADY = Effort(seconds=2.0, relative_width=0.02, min_rounds=15)
_FAR = 1.5  # times as long as the best kernel: not worth many rounds


def _bar(name: str, says: str, measured: str, held: bool) -> Held:
    return Held(NAME, name, says, measured, held)


def _process_seconds(code: str, environment: dict[str, str] | None = None) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    return time.perf_counter() - start


@contextlib.contextmanager
def _bytecode_kept() -> Iterator[dict[str, str]]:
    """Yield an environment in which Python keeps modules' bytecode, as it does for a user.

    In a folder of its own: where this process must write none, its children's would be missing.
    """
    with tempfile.TemporaryDirectory(prefix="bytecode-") as folder:
        kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        yield {**kept, "PYTHONPYCACHEPREFIX": folder}


def import_time() -> Iterator[Held]:
    """`import tinytorch` beside `import numpy` alone, each in fresh processes, in turns."""
    codes = ("import numpy", "import numpy, tinytorch")
    with _bytecode_kept() as environment:
        for code in codes:
            _process_seconds(code, environment)
        pairs = [tuple(_process_seconds(c, environment) for c in codes) for _ in range(11)]
    extra = statistics.median(after - before for before, after in pairs)
    yield _bar("import tinytorch, beyond NumPy", "< 0.15 s", seconds_text(extra), extra < 0.15)


class _NullChoice(AutoBackend):
    """`auto`, except that it chooses the kernel that computes nothing."""

    choose = backends.get("null").choose  # type: ignore[assignment]


def dispatch() -> Iterator[Held]:
    """`auto`'s dispatch against a direct call of the function that it calls."""
    a = np.ones((8, 8), np.float32)
    auto = _NullChoice()
    direct = auto.choose("matmul", (a, a), {}).function
    found = compare(lambda: direct(a, a), lambda: auto.dispatch("matmul", a, a), effort=STEADY)
    extra = statistics.median(
        after - before
        for before, after in zip(found.baseline.seconds, found.candidate.seconds, strict=True)
    )
    text = f"{seconds_text(extra)}; to tell such a call from others: {seconds_text(_told(a))}"
    yield _bar("dispatch through auto", "<= 1 us", text, extra <= 1e-6)


def _told(a: np.ndarray) -> float:
    """Return the seconds that Python takes to look up what is known of two arrays.

    A yardstick: as few words as can be, in a function's own names, with no call.
    """
    known = {("matmul", 2, *[(a.__class__, a.shape, a.strides, a.dtype)] * 2): a}

    def look_up(a: np.ndarray, b: np.ndarray) -> None:
        for _ in range(1000):
            known[
                "matmul",
                2,
                (a.__class__, a.shape, a.strides, a.dtype),
                (b.__class__, b.shape, b.strides, b.dtype),
            ]

    return race({"look up": lambda: look_up(a, a)}, effort=STEADY)["look up"].median / 1000


def auto_is_best(op: str) -> Iterator[Held]:
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
        # Slow ones leave time for few rounds: those that are near race again, without them.
        first = race(calls, effort=Effort(seconds=0.5))
        far = _FAR * min(first[name].median for name in rivals)
        near = [n for n in calls if n in ("auto", "numpy") or first[n].median <= far]
        taken = race({name: calls[name] for name in near}, effort=STEADY)
        best = min((n for n in near if n != "auto"), key=lambda name: taken[name].median)
        chosen = AUTO.choose(op, arrays, {}).name
        for rival, bar in ((best, 0.95), ("numpy", 0.97)):
            speed = ratio_interval(taken[rival].seconds, taken["auto"].seconds)
            yield _bar(
                f"auto on {op} {size.name} ({chosen}) / {rival}",
                f">= {bar}",
                ratio_text(speed),
                speed.median >= bar,
            )


def fused_gelu() -> Iterator[Held]:
    """Fused GELU over 4M float32 into `out`, against a plain copy of the same array."""
    described = ops.get("gelu")
    (x,) = described.inputs(described.size("4M").shapes)
    out = aligned_empty(x.shape, x.dtype)
    target = aligned_empty(x.shape, x.dtype)
    rung = registry.get("gelu", "parallel")
    run_checked(described, rung.function, (x,), out=out).require("gelu/parallel")
    found = compare(lambda: rung.function(x, out=out), lambda: np.copyto(target, x), effort=STEADY)
    yield _bar(
        "fused gelu, 4M float32 / plain copy",
        "<= 1.35",
        ratio_text(found.ratio),
        found.ratio.median <= 1.35,
    )
    use = measure_memory(rung.function, x, out=out)
    small = use.allocations == 0 and use.peak_bytes < 16384
    yield _bar(
        "fused gelu with out= allocates",
        "nothing",
        f"{use.allocations} arrays, peak {use.peak_bytes} B",
        small,
    )


_ALTERNATE = """
import json, numpy as np
from tinytorch.kernels import registry
from tinytorch.measure.clock import Effort, race
x = np.random.default_rng(0).standard_normal(200_000).astype(np.float32)
a = np.random.default_rng(1).standard_normal((256, 256)).astype(np.float32)
out, c = np.empty_like(x), np.empty_like(a)
library = registry.get("matmul", "library").function
gelu = registry.get("gelu", "parallel").function
packed = registry.get("matmul", "packed").function
def product(): library(a, a, out=c)
def native(): NATIVE
def both(): product(); native()
def alone(f):
    return race({"one": f}, effort=Effort(seconds=1, max_rounds=300, sample_seconds=1e-6))["one"]
first, second, mixed = alone(product), alone(native), alone(both)
print(json.dumps([first.median, second.median, mixed.median]))
"""


def _alternation(native: str, runs: int = 3) -> tuple[float, str]:
    """Return a BLAS product and a native kernel in turns / the sum of each alone.

    In fresh processes with the defaults; the median of several, and their range.
    """
    code = _ALTERNATE.replace("NATIVE", native)
    ratios = []
    for _ in range(runs):
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        product, alone, mixed = json.loads(done.stdout)
        ratios.append(mixed / (product + alone))
    median = statistics.median(ratios)
    return median, f"{figures(median)}x ({figures(min(ratios))} .. {figures(max(ratios))})"


def alternation() -> Iterator[Held]:
    """BLAS products and native kernels in turns: two pools of threads on the same CPUs."""
    median, text = _alternation("gelu(x, out=out)")
    name = "BLAS 256 and fused GELU 200K in turns / sum alone"
    yield _bar(name, "<= 1.25", text, median <= 1.25)
    yield _bar(name, "<= 1.1", text, median <= 1.1)
    median, text = _alternation("packed(a, a, out=c)")
    yield _bar("BLAS 256 and our product 256 in turns / sum alone", "<= 1.1", text, median <= 1.1)


_FIRST_CALLS = {
    "fused_gelu": "from tinytorch.perf.acceleration import fused_gelu as f; f(x)",
    "linear/fused": "from tinytorch.kernels.registry import get; "
    "get('linear', 'fused').function(x, x, x[0], activation='gelu')",
    "a function under @fuse": "from tinytorch.fuse import fuse; fuse(lambda x: x * np.tanh(x))(x)",
}


def first_call(runs: int = 6) -> Iterator[Held]:
    """A process that starts, calls one kernel that is in the cache, and ends.

    Beside it, in turns, two yardsticks: a process that imports NumPy, and one that imports Numba.
    """
    for name, call in _FIRST_CALLS.items():
        code = f"import numpy as np; x = np.ones((64, 64), np.float32); {call}"
        codes = (code, "import numpy", "import numba")
        with _bytecode_kept() as environment:
            for each in (*codes, code):  # the first may compile, which loads more than others do
                _process_seconds(each, environment)
            rounds = [[_process_seconds(c, environment) for c in codes] for _ in range(runs)]
        taken, numpy_alone, numba_alone = map(median_interval, zip(*rounds, strict=True))
        text = (
            f"{interval_text(taken)}; to import NumPy {seconds_text(numpy_alone.median)}, "
            f"Numba {seconds_text(numba_alone.median)}"
        )
        held = taken.median <= 0.7
        yield _bar(f"a process's first call, {name}", "<= 0.7 s", text, held)


def mixed_lengths() -> Iterator[Held]:
    """An encoder on sentences of mixed length, against as many tokens in even sequences."""
    folder = installed_model()
    if folder is None:
        return
    encoder = hub.load(folder)
    mixed = encoder.tokenizer.encode(sentences())
    tokens = [token for sequence in mixed for token in sequence]
    length = round(len(tokens) / len(mixed))
    even = [tokens[i : i + length] for i in range(0, len(tokens), length)]
    found = compare(lambda: encoder.forward(mixed), lambda: encoder.forward(even), effort=STEADY)
    name = f"32 sentences / the same {len(tokens)} tokens in sequences of {length}"
    yield _bar(name, "<= 1.1", ratio_text(found.ratio), found.ratio.median <= 1.1)


_EMBED = """
from tinytorch import hub
hub.load({folder!r}, {precision!r}).embed(["A sentence to begin with."])
"""


def encoder_start(runs: int = 5) -> Iterator[Held]:
    """A process that starts, loads an encoder, embeds one sentence, and ends; compiled before."""
    folder = installed_model()
    for precision in ("float32", "int8") if folder else ():
        code = _EMBED.format(folder=str(folder), precision=precision)
        with _bytecode_kept() as environment:
            for _ in range(2):  # the first may compile, which loads more than others do
                _process_seconds(code, environment)
            found = median_interval([_process_seconds(code, environment) for _ in range(runs)])
        name = f"process to first embedding, {precision}"
        yield _bar(name, "<= 1.5 s", interval_text(found), found.median <= 1.5)


QUICK: tuple[Callable[[], Iterator[Held]], ...] = (
    dispatch,
    fused_gelu,
    functools.partial(first_call, 3),
)
ALL: tuple[Callable[[], Iterator[Held]], ...] = (
    import_time,
    dispatch,
    bookkeeping.overhead,
    bookkeeping.steady_memory,
    bookkeeping.profiling,
    fused_gelu,
    first_call,
    encoder_start,
    mixed_lengths,
    alternation,
    functools.partial(auto_is_best, "gelu"),
    functools.partial(auto_is_best, "matmul"),
)


def parts(quick: bool, setting: Setting) -> tuple[Callable[[], Iterator[Held]], ...]:
    """Return what measures the bars, each some of them."""
    return QUICK if quick else (*ALL, functools.partial(peaks.encoder, setting))
