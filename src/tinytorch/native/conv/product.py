"""Running a planned convolution on ndarrays. The caller has checked shapes and types."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinytorch.native.aligned import address_of
from tinytorch.native.conv import driver, pools
from tinytorch.native.conv.plan import Task
from tinytorch.native.gemm.product import ROOM

Array = NDArray[Any]

_BYTES = np.dtype(np.uint8)


@dataclass(frozen=True)
class _Compiled:
    """What is compiled for one data type and routine, and what stands for an absent bias."""

    fill: Any
    run: Any
    routine: int
    no_bias: Array


@functools.cache
def _compiled(dtype: str, routine: str) -> _Compiled:
    return _Compiled(
        driver.filler(dtype),
        driver.runner(),
        driver.routine(routine, dtype),
        np.empty(0, dtype),
    )


def run(task: Task, source: Array, other: Array, out: Array, bias: Array | None = None) -> None:
    """Write the result of a plan: `source` are the images that patches are gathered from.

    `other` (weights, or the output's gradient), `bias` and `out` are C-contiguous; `out` has
    elements.
    """
    compiled = _compiled(task.dtype, task.routine)
    tables = task.numbers.copy()
    size = -(-task.room_bytes // 64) * 64
    parts = task.chunks * out.nbytes if task.chunks > 1 else 0
    room = ROOM.rows(1, size + parts, _BYTES)[0]
    target = out
    if parts:
        results = room[size:].view(out.dtype).reshape(task.chunks, *out.shape)
        target = results[0]
    compiled.fill(tables, source, other, compiled.no_bias if bias is None else bias, target, room)
    compiled.run(compiled.routine, tables, task.shares)
    if parts:
        np.add.reduce(results, axis=0, out=out)


def run_table(routine: str, dtype: Any, numbers: dict[str, int], shares: int) -> None:
    """Run a pooling's table of numbers, with room of ROOM_SHARE bytes a share added."""
    room = ROOM.rows(1, shares * numbers["ROOM_SHARE"], _BYTES)[0]
    numbers["ROOM"] = address_of(room)
    table = np.array([[numbers[name] for name in pools.FIELDS]], np.int64)
    driver.runner()(driver.routine(routine, dtype.name), table, shares)
