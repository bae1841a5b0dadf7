"""Recording what is dispatched: op, shapes, kernel and seconds of every call, on every backend.

While nobody records, dispatch is untouched: the recording version takes its place when the first
recorder starts and leaves with the last one.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinytorch import ops
from tinytorch.backends.base import ComputeBackend
from tinytorch.ops.spec import Cost, Params, Shapes

# What a call is told apart by: backend, op, each array's shape, strides and dtype, and the params.
_Signature = tuple[Any, ...]


@dataclass(frozen=True)
class OpCall:
    """One dispatch: `start` is in seconds of time.perf_counter, `thread` an identifier."""

    op: str
    shapes: Shapes
    dtype: str
    params: Params
    kernel: str
    backend: str
    start: float
    seconds: float
    thread: int

    @property
    def cost(self) -> Cost:
        """FLOPs and compulsory bytes, from the op's own description."""
        return _cost(self.op, self.shapes, self.dtype, tuple(self.params.items()))


@functools.lru_cache(4096)
def _cost(op: str, shapes: Shapes, dtype: str, params: tuple[Any, ...]) -> Cost:
    return ops.get(op).cost(shapes, dtype, dict(params))


class Recorder:
    """Gathers calls; `calls` is complete once the block of `recording` is left."""

    def __init__(self) -> None:
        """Start empty."""
        self._taken: list[tuple[_Signature, float, float, int]] = []
        self._kernels: dict[_Signature, str] = {}

    def note(self, signature: _Signature, start: float, end: float) -> None:
        """Keep one call."""
        self._taken.append((signature, start, end - start, threading.get_ident()))

    def name_kernel(
        self, signature: _Signature, backend: ComputeBackend, arrays: tuple[Any, ...]
    ) -> None:
        """Ask the backend once for each signature which kernel it runs."""
        if signature not in self._kernels:
            plain = tuple(map(np.asarray, arrays))
            params = dict(signature[3])
            self._kernels[signature] = backend.choose(signature[1], plain, params).name

    @property
    def calls(self) -> list[OpCall]:
        """Every call so far, in the order in which they ended."""
        return [self._call(*taken) for taken in list(self._taken)]

    def __len__(self) -> int:
        return len(self._taken)

    def _call(self, signature: _Signature, start: float, seconds: float, thread: int) -> OpCall:
        backend, op, described, params = signature
        return OpCall(
            op=op,
            shapes=tuple(shape for shape, _, _ in described),
            dtype=_common(dtype for _, _, dtype in described),
            params=dict(params),
            kernel=self._kernels.get(signature, "?"),
            backend=backend,
            start=start,
            seconds=seconds,
            thread=thread,
        )

    def totals(self) -> Cost:
        """Return FLOPs and compulsory bytes of all calls together."""
        costs = [call.cost for call in self.calls]
        return Cost(sum(c.flops for c in costs), sum(c.bytes_moved for c in costs))


def _common(dtypes: Iterator[Any]) -> str:
    return str(np.result_type(*dtypes).name)


def _signature(
    backend: ComputeBackend, op: str, arrays: tuple[Any, ...], params: Params
) -> _Signature:
    try:
        described = tuple([(a.shape, a.strides, a.dtype) for a in arrays])
    except AttributeError:
        plain = [np.asarray(a) for a in arrays]
        described = tuple([(a.shape, a.strides, a.dtype) for a in plain])
    return (backend.name, op, described, tuple(params.items()))


_recorders: list[Recorder] = []
_switching = threading.Lock()
_inside = threading.local()
_dispatch = ComputeBackend.dispatch


def _recorded(self: ComputeBackend, op: str, *arrays: Any, out: Any = None, **params: Any) -> Any:
    # A kernel that dispatches in its turn is one call: its own.
    if getattr(_inside, "now", False):
        return _dispatch(self, op, *arrays, out=out, **params)
    _inside.now = True
    try:
        start = time.perf_counter()
        result = _dispatch(self, op, *arrays, out=out, **params)
        end = time.perf_counter()
        signature = _signature(self, op, arrays, params)
        for recorder in _recorders:
            recorder.name_kernel(signature, self, arrays)
            recorder.note(signature, start, end)
    finally:
        _inside.now = False
    return result


@contextlib.contextmanager
def recording() -> Iterator[Recorder]:
    """Record every dispatch inside the block, of all threads and backends.

    A call costs one to two microseconds more meanwhile.
    """
    recorder = Recorder()
    with _switching:
        _recorders.append(recorder)
        ComputeBackend.dispatch = _recorded  # type: ignore[method-assign]
    try:
        yield recorder
    finally:
        with _switching:
            _recorders.remove(recorder)
            if not _recorders:
                ComputeBackend.dispatch = _dispatch  # type: ignore[method-assign]
