"""Each program fused, against itself unfused and a plain copy of the same bytes.

`python benchmarks/fused.py [--elements N] [--dtype float32] [names ...]`: everything is verified,
then timed in turns, with `out=` on both the fused program and the copy.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from programs import PROGRAMS, Program

from tinytorch.errors import VerificationError
from tinytorch.fuse import fuse
from tinytorch.measure.clock import Effort, race
from tinytorch.measure.stats import ratio_interval
from tinytorch.measure.units import ratio_text, seconds_text
from tinytorch.native import threads

EFFORT = Effort(seconds=6.0, min_rounds=9, max_rounds=60)


def copy_of(bytes_moved: int) -> Callable[[], None]:
    """Return a call that copies half of so many bytes to the other half, on all threads."""
    source = np.ones(bytes_moved // 8, np.float32)
    target = np.zeros_like(source)
    copy = fuse(lambda x: x)
    return lambda: copy(source, out=target)


def verify(name: str, got: Any, want: Any) -> None:
    """Raise VerificationError unless fused and unfused results agree to half their digits."""
    several = isinstance(want, tuple)
    for g, w in zip(*((got, want) if several else ((got,), (want,))), strict=True):
        half = float(np.finfo(w.dtype).eps) ** 0.5
        if g.dtype != w.dtype or not np.allclose(g, w, half, half):
            raise VerificationError(f"{name}, fused, does not give what it gives unfused")


def bench(name: str, program: Program, elements: int, dtype: str) -> str:
    """Verify and time one program; return its row."""
    arguments = program.inputs(elements, dtype, 0)
    fused = fuse(program.function)
    want = program.function(*arguments)
    made = fused(*arguments)
    verify(name, made, want)
    several = isinstance(made, tuple)
    results = [np.asarray(m) for m in (made if several else (made,))]
    out = tuple(results) if several else results[0]
    arrays = [a for a in arguments if isinstance(a, np.ndarray)]
    bytes_moved = sum(a.nbytes for a in (*arrays, *results))
    half = np.ones(bytes_moved // 8, np.float32)
    other = np.zeros_like(half)
    taken = race(
        {
            "fused": lambda: fused(*arguments, out=out),
            "copy": copy_of(bytes_moved),
            "np.copyto": lambda: np.copyto(other, half),
            "unfused": lambda: program.function(*arguments),
        },
        effort=EFFORT,
    )
    seconds = taken["fused"].seconds
    copied = ratio_interval(seconds, taken["copy"].seconds)
    one = ratio_interval(seconds, taken["np.copyto"].seconds)
    gain = ratio_interval(taken["unfused"].seconds, seconds)
    return (
        f"{name:16} {seconds_text(taken['fused'].median):>9}   {ratio_text(copied):28} "
        f"{ratio_text(one):28} {ratio_text(gain)}"
    )


def main() -> None:
    """Print a row for each program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(PROGRAMS))
    parser.add_argument("--elements", type=int, default=1 << 22)
    parser.add_argument("--dtype", default="float32")
    chosen = parser.parse_args()
    print(f"{chosen.elements} elements of {chosen.dtype}, {threads.get_num_threads()} threads")
    print(f"{'program':16} {'fused':>9}   {'time / copy':28} {'time / np.copyto':28} NumPy / fused")
    for name in chosen.names:
        print(bench(name, PROGRAMS[name], chosen.elements, chosen.dtype), flush=True)


if __name__ == "__main__":
    main()
