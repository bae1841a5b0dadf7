"""Convolutions from Python, on ndarrays. The caller has checked shapes and types."""

from __future__ import annotations

from typing import Any

import numpy as np
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


def _go(routine: str, task: plan.Task, tables: Array, dtype: Any, extra: int = 0) -> Array:
    """Run the tables; return `extra` elements of room, where the result goes if there are any."""
    size = -(-task.room_bytes // 64) * 64 // dtype.itemsize
    room = _ROOM.rows(1, size + extra, dtype)[0]
    tables[:, _P["ROOM"]] = _address(room)
    if extra:
        tables[:, _P["OUT"]] = _address(room[size:])
    driver.runner()(driver.routine(routine, dtype.name), tables, task.shares)
    return room[size:]


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


def input_gradient(
    dy: Array, w: Array, out: Array, window: Window, caches: CacheBytes
) -> None:
    """Write the gradient of the images to `out`, from that of the output and the weights.

    Weights and `out` are C-contiguous; `out` has elements.
    """
    count = threads.get_num_threads()
    task = plan.input_gradient(window, dy.dtype.name, caches, count, dy.flags.c_contiguous)
    tables = task.numbers.copy()
    _source(tables, dy)
    tables[:, _P["OTHER"]] = _address(w)
    tables[:, _P["OUT"]] += _address(out)
    _go("pixels", task, tables, dy.dtype)


def weight_gradient(
    x: Array, dy: Array, out: Array, window: Window, caches: CacheBytes
) -> None:
    """Write the gradient of the weights to `out`, from the images and the output's gradient.

    `dy` and `out` are C-contiguous; `out` has elements.
    """
    if not dy.size:
        out[...] = 0
        return
    count = threads.get_num_threads()
    task = plan.weight_gradient(window, x.dtype.name, caches, count, x.flags.c_contiguous)
    tables = task.numbers.copy()
    _source(tables, x)
    tables[:, _P["OTHER"]] = _address(dy)
    tables[:, _P["OUT"]] = _address(out)
    parts = task.chunks if task.chunks > 1 else 0
    results = _go("weights", task, tables, x.dtype, parts * out.size)
    if parts:
        np.sum(results.reshape(parts, -1), axis=0, out=out.reshape(-1))
