"""What a fused program can't be faster than: its bytes moved alone, and its instructions alone."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from programs import PROGRAMS

from peers import Absent, Run
from tinytorch.fuse import fuse
from tinytorch.fuse.incache import in_cache as repeated
from tinytorch.kernels.outputs import aligned_empty
from tinytorch.measure.microkernels import stream_row_past_cache as stream
from tinytorch.native import threads as pool
from tinytorch.native.codecache import jit, prange

Params = Mapping[str, Any]
_TURN = 1024  # float32: whole turns of the loop that moves them


def _own(array: Any) -> Any:
    made = aligned_empty(array.shape, array.dtype)
    made[...] = array
    return made


def _halves(name: str, arrays: tuple[Any, ...]) -> tuple[Any, Any]:
    """Return two arrays that have as many bytes together as a program's arguments and results."""
    outputs = PROGRAMS[name].function(*arrays)
    made = outputs if isinstance(outputs, tuple) else (outputs,)
    size = sum(a.nbytes for a in (*arrays, *made) if isinstance(a, np.ndarray | np.generic))
    source, target = (aligned_empty((size // 8,), np.float32) for _ in range(2))
    source[...], target[...] = 1, 0
    return source, target


def copy(params: Params, *arrays: Any, variant: str) -> Run:
    """Return a copy, on all threads, that reads and writes as many bytes as a program does.

    The three arrays that Adam's step updates, and the gradient, are moved where they lie.
    """
    if PROGRAMS[params["program"]].updates:
        weight, gradient, mean, square = map(_own, arrays[:4])
        moved = fuse(lambda w, g, m, v: (w + g, -m, -v))
        state = (weight, mean, square)
        call = functools.partial(moved, weight, gradient, mean, square, out=state)
        return Run(call, note="Adam's arrays are moved in place")
    source, target = _halves(params["program"], arrays)
    return Run(functools.partial(fuse(lambda x: x), source, out=target))


@jit(parallel=True)
def _rows_past_cache(source, target):  # type: ignore[no-untyped-def]
    """Write rows of `source`, one a thread, to the flat `target`, past the caches."""
    size = source.shape[1]
    for t in prange(source.shape[0]):
        row = source[t]
        stream(row, None, row[0], target[t * size : (t + 1) * size])


def copy_past_caches(params: Params, *arrays: Any, variant: str) -> Run:
    """Return the same copy with stores past the caches, which read no line that they fill."""
    if PROGRAMS[params["program"]].updates:
        raise Absent("what is updated in place is read anyway")
    source, target = _halves(params["program"], arrays)
    count = pool.get_num_threads()
    size = len(source) // count // _TURN * _TURN
    shares = (source[: size * count].reshape(count, size), target[: size * count])
    move = functools.partial(_rows_past_cache, *shares)

    def call() -> Any:
        move()
        return target

    return Run(call)


def in_cache(params: Params, *arrays: Any, variant: str) -> Run:
    """Return a program's instructions alone: as many elements, on rows in the first cache."""
    described = PROGRAMS[params["program"]]
    fused = fuse(described.function)
    found = repeated(fused, arrays, described.updates)
    if not 0.98 < found.share < 1.02:
        raise Absent(f"whole repeats make {found.share:.2f} of the program's elements at least")

    def call() -> Any:
        found.run()
        return arrays[0][:1]

    return Run(call)
