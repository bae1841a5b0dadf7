"""Convolutions from Python, on ndarrays. The caller has checked shapes and types."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from tinytorch.native import threads
from tinytorch.native.conv import driver, fields, plan
from tinytorch.native.conv.plan import Window
from tinytorch.native.gemm.plan import CacheBytes
from tinytorch.native.gemm.product import _ROOM

Array = NDArray[Any]
_P = fields.PLACE


def _address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])


def _source(tables: Array, array: Array) -> None:
    tables[:, _P["SOURCE"]] = _address(array)
    item = array.itemsize
    for name, stride in zip(("IMAGE", "CHANNEL", "ROW", "COLUMN"), array.strides, strict=True):
        tables[:, _P[name]] = stride // item


def _go(routine: str, task: plan.Task, tables: Array, dtype: Any) -> None:
    room = _ROOM.rows(1, task.room_bytes // dtype.itemsize, dtype)
    tables[:, _P["ROOM"]] = _address(room)
    driver.runner()(driver.routine(routine, dtype.name), tables, task.shares)


def forward(
    arrays: tuple[Array, Array, Array],
    out: Array,
    window: Window,
    caches: CacheBytes,
    *,
    relu: bool,
) -> None:
    """Write the convolution of `arrays` (images, weights, bias), with relu if asked, to `out`.

    Weights, bias and `out` are C-contiguous; `out` has elements.
    """
    x, w, b = arrays
    count = threads.get_num_threads()
    task = plan.forward(window, x.dtype.name, caches, count, relu, x.flags.c_contiguous)
    tables = task.numbers.copy()
    _source(tables, x)
    tables[:, _P["OTHER"]] = _address(w)
    tables[:, _P["BIAS"]] = _address(b)
    tables[:, _P["OUT"]] = _address(out)
    _go("pixels", task, tables, x.dtype)
