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
from tinytorch.native.gemm.pointers import call, data

_MASK_WORDS = 16  # of 64 CPUs, as the C library's cpu_set_t


@jit(parallel=True)
def _bind(address, mask, count):
    for _ in prange(count):
        call(address, 0, 8 * _MASK_WORDS, data(mask))


def _nowhere() -> int:
    return -1


def _library() -> tuple[Callable[[], int], int]:
    """Return C's sched_getcpu, and the address of sched_setaffinity; elsewhere, no place and 0."""
    with contextlib.suppress(OSError, AttributeError):
        own = ctypes.CDLL(None)
        address = ctypes.cast(own.sched_setaffinity, ctypes.c_void_p).value
        return own.sched_getcpu, address or 0
    return _nowhere, 0


class _Place(threading.local):
    """The CPU that the workers of this Python thread are kept off (each thread has its own)."""

    cpu = -1


_PLACE = _Place()
_HERE, _BIND_ADDRESS = _library()


def keep_apart() -> None:
    """Keep the workers of the calling thread off the CPU that it is on now, if they aren't yet."""
    cpu = _HERE()
    if cpu != _PLACE.cpu:
        _PLACE.cpu = cpu
        _move(cpu)


def _move(cpu: int) -> None:
    allowed = os.sched_getaffinity(0)
    others = allowed - {cpu}
    if not others or max(others) >= 64 * _MASK_WORDS:
        return
    mask = np.zeros(_MASK_WORDS, np.uint64)
    for other in others:
        mask[other // 64] |= np.uint64(1 << other % 64)
    bind: Any = _bind
    bind.parallel(_BIND_ADDRESS, mask, threads.get_num_threads())
    os.sched_setaffinity(0, allowed)
