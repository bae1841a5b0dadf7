"""Where the workers run: on any CPU but the caller's.

A worker that sleeps between calls is often woken by Linux on the CPU of the thread that wakes it,
where it waits for that thread instead of helping: seen on virtual machines, where idle CPUs are
slow to wake, a loop shared by two threads then takes as long as with one. So workers are kept off
the CPU that their caller is on, and moved when it has moved. The caller itself is never bound:
what it starts later would inherit that.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from tinytorch.native import threads
from tinytorch.native.codecache import jit, prange
from tinytorch.native.pointers import integer_from


def _collect(address: int, ids: Any) -> None:
    for i in prange(ids.size):  # type: ignore[misc]
        ids[i] = integer_from(address)


_collected: Any = jit(parallel=True)(_collect)


def _nowhere() -> int:
    return -1


def _library() -> tuple[Callable[[], int], int]:
    """Return C's sched_getcpu, and the address of gettid; where they are absent, no place and 0."""
    with contextlib.suppress(OSError, AttributeError):
        own = ctypes.PyDLL(None)  # which keeps the GIL: the call takes less than letting it go
        address = ctypes.cast(own.gettid, ctypes.c_void_p).value
        return own.sched_getcpu, address or 0
    return _nowhere, 0


_CPU_HERE, _THREAD_ID = _library()


class _Place(threading.local):
    """The workers of a Python thread (each has its own), and the CPU that they are kept off."""

    cpu = -1
    count = 0
    workers: tuple[int, ...] = ()


_PLACE = _Place()


def keep_apart() -> None:
    """Keep the workers of the calling thread off the CPU that it is on now, if they aren't yet."""
    cpu = _CPU_HERE()
    if cpu != _PLACE.cpu or _PLACE.count < threads.get_num_threads():
        _move(cpu)


def _move(cpu: int) -> None:
    if cpu < 0:
        return
    if _PLACE.count < threads.get_num_threads():
        _PLACE.count = threads.get_num_threads()
        ids = np.zeros(_PLACE.count, np.int64)
        _collected.parallel(_THREAD_ID, ids)
        _PLACE.workers = tuple({*ids.tolist()} - {0, threading.get_native_id()})
    _PLACE.cpu = cpu
    others = os.sched_getaffinity(0) - {cpu}
    for worker in _PLACE.workers if others else ():
        with contextlib.suppress(OSError):  # it has ended, or this process may not
            os.sched_setaffinity(worker, others)
