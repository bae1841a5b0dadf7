"""What a call takes in memory: bytes alive at once, and the array buffers it asked for.

The peak comes from `tracemalloc`, which sees Python objects, NumPy's buffers and those of compiled
kernels. The count comes from two places that know arrays from other objects: a NumPy data
allocator (NEP 49) that counts and then calls the one it stands before, and the statistics of
Numba's runtime. What can't be known here is None.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

# NumPy boxes each Python number that meets an array, and the result of each reduction, in an array
# of one element: up to this many bytes are taken for such a box and not counted.
BOX_BYTES = 16


@dataclass(frozen=True)
class MemoryUse:
    """Memory of one call, in bytes beyond what was alive at its start.

    `peak_bytes`: most alive at once. `allocations`, `allocated_bytes`: array buffers asked for (of
    NumPy: those over BOX_BYTES) and their sum; None where that can't be known, as the sum can't
    once compiled kernels made buffers. `live_bytes`: alive after the call, its result included;
    negative where it freed more than it kept. `result_bytes`: the result's own, if an array.
    """

    peak_bytes: int
    allocated_bytes: int | None
    allocations: int | None
    live_bytes: int
    result_bytes: int | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


@dataclass
class ArrayAllocations:
    """Array buffers asked for, and their bytes; None where that can't be known."""

    count: int | None = 0
    bytes_requested: int | None = 0


def measure_memory(function: Callable[..., object], /, *args: Any, **kwargs: Any) -> MemoryUse:
    """Call `function` once and return what it took. If it compiles at first, call it before.

    What other threads allocate meanwhile is in the peak; what Python threads that the call starts
    ask of NumPy is not in the count.
    """
    with count_allocations() as found, _traced():
        tracemalloc.reset_peak()
        start = tracemalloc.get_traced_memory()[0]
        result = function(*args, **kwargs)
        live, peak = tracemalloc.get_traced_memory()
    return MemoryUse(
        peak_bytes=peak - start,
        allocated_bytes=found.bytes_requested,
        allocations=found.count,
        live_bytes=live - start,
        result_bytes=result.nbytes if isinstance(result, np.ndarray) else None,
    )


def resident_bytes() -> int:
    """Return the bytes of physical memory that this process holds now."""
    import psutil

    return int(psutil.Process().memory_info().rss)


@contextlib.contextmanager
def count_allocations() -> Iterator[ArrayAllocations]:
    """Count the array buffers asked for inside; the numbers are there once the block is left."""
    found = ArrayAllocations()
    with _count_numpy() as by_numpy, _count_numba() as by_numba:
        yield found
    found.count = _sum(by_numpy.count, by_numba.count)
    found.bytes_requested = _sum(by_numpy.bytes_requested, by_numba.bytes_requested)


def _sum(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else first + second


@contextlib.contextmanager
def _traced() -> Iterator[None]:
    """Trace memory inside, and leave tracing on or off as it was found."""
    if tracemalloc.is_tracing():
        yield
        return
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


# ------------------------------------------------------------------------------ NumPy's buffers

_HANDLER_NAME = b"tinytorch_counting"
_CAPSULE_NAME = b"mem_handler"
_Pointer, _Size = ctypes.c_void_p, ctypes.c_size_t
# NOTE: PYFUNCTYPE keeps the GIL in the calls we make, because NumPy's own allocator releases it
# itself; as a callback, either kind takes the GIL first.
_Malloc = ctypes.PYFUNCTYPE(_Pointer, _Pointer, _Size)
_Calloc = ctypes.PYFUNCTYPE(_Pointer, _Pointer, _Size, _Size)
_Realloc = ctypes.PYFUNCTYPE(_Pointer, _Pointer, _Pointer, _Size)


class _Handler(ctypes.Structure):
    """NumPy's PyDataMem_Handler, version 1 (numpy/ndarraytypes.h)."""

    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("ctx", _Pointer),
        ("malloc", _Malloc),
        ("calloc", _Calloc),
        ("realloc", _Realloc),
        ("free", _Pointer),
    )


# Everything that was ever asked for under a counting handler; blocks read it before and after.
_asked = {"buffers": 0, "bytes": 0}


def _note(size: int) -> None:
    if size > BOX_BYTES:
        _asked["buffers"] += 1
        _asked["bytes"] += size


@functools.cache
def _capsule_pointer() -> Any:
    return ctypes.PYFUNCTYPE(_Pointer, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )


@functools.cache
def _numpy_functions() -> tuple[Any, Any] | None:
    """Return NumPy's C functions that get and set the handler, or None where there are none."""
    if sys.implementation.name != "cpython":
        return None
    capsule = importlib.import_module("numpy._core._multiarray_umath")._ARRAY_API
    # The slots of PyDataMem_SetHandler and PyDataMem_GetHandler, fixed since NumPy 1.22.
    table = (_Size * 306).from_address(_capsule_pointer()(capsule, None))
    set_handler = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(table[304])
    get_handler = ctypes.PYFUNCTYPE(ctypes.py_object)(table[305])
    return get_handler, set_handler


@functools.cache
def _counting(previous: object) -> object:
    """Return a handler that counts, then does what `previous` does (both: NumPy's capsules).

    `free` is the other's own: an array that outlives the interpreter's last line is freed without
    a call into Python.
    """
    other = _Handler.from_address(_capsule_pointer()(previous, _CAPSULE_NAME))

    def malloc(ctx: int | None, size: int) -> int | None:
        _note(size)
        return other.malloc(ctx, size)  # type: ignore[no-any-return]

    def calloc(ctx: int | None, items: int, size: int) -> int | None:
        _note(items * size)
        return other.calloc(ctx, items, size)  # type: ignore[no-any-return]

    def realloc(ctx: int | None, block: int | None, size: int) -> int | None:
        _note(size)
        return other.realloc(ctx, block, size)  # type: ignore[no-any-return]

    callbacks = _Malloc(malloc), _Calloc(calloc), _Realloc(realloc)
    handler = _Handler(_HANDLER_NAME, other.version, other.ctx, *callbacks, other.free)
    # NOTE: arrays hold on to their handler, and some are freed after every module is gone.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object((previous, handler, callbacks)))
    new = ctypes.PYFUNCTYPE(ctypes.py_object, _Pointer, ctypes.c_char_p, _Pointer)(
        ("PyCapsule_New", ctypes.pythonapi)
    )
    return new(ctypes.addressof(handler), _CAPSULE_NAME, None)


@contextlib.contextmanager
def _count_numpy() -> Iterator[ArrayAllocations]:
    """Count what this context (PEP 567) asks of NumPy's data allocator."""
    functions = _numpy_functions()
    if functions is None:
        yield ArrayAllocations(None, None)
        return
    get_handler, set_handler = functions
    previous = get_handler()
    handler = _Handler.from_address(_capsule_pointer()(previous, _CAPSULE_NAME))
    if handler.version != 1:
        yield ArrayAllocations(None, None)
        return
    found, before = ArrayAllocations(), dict(_asked)
    # Within another block its handler counts already.
    set_handler(previous if handler.name == _HANDLER_NAME else _counting(previous))
    try:
        yield found
    finally:
        set_handler(previous)
        found.count = _asked["buffers"] - before["buffers"]
        found.bytes_requested = _asked["bytes"] - before["bytes"]


# ------------------------------------------------------------------------------ Numba's buffers


@contextlib.contextmanager
def _count_numba() -> Iterator[ArrayAllocations]:
    """Count the buffers that compiled functions make; their sizes are not known.

    Numba's statistics count a record for each buffer, and one for each array that a call from
    Python hands in. Calls are watched for the duration, to take the latter off again.
    """
    found = ArrayAllocations()
    if "numba.core.dispatcher" not in sys.modules:
        yield found
        if "numba.core.dispatcher" in sys.modules:  # what it did meanwhile was not seen
            found.count = found.bytes_requested = None
        return
    from numba.core.runtime import _nrt_python as runtime

    enabled = runtime.memsys_stats_enabled()
    runtime.memsys_enable_stats()
    before = runtime.memsys_get_stats_mi_alloc()
    try:
        with _handed_in() as arguments:
            yield found
        made = runtime.memsys_get_stats_mi_alloc() - before - arguments[0]
        found.count = made if made >= 0 else None
        found.bytes_requested = 0 if made == 0 else None
    finally:
        if not enabled:
            runtime.memsys_disable_stats()


@contextlib.contextmanager
def _handed_in() -> Iterator[list[int]]:
    """Count the array arguments of calls from Python to compiled functions, in a list of one."""
    dispatcher: Any = importlib.import_module("numba.core.dispatcher").Dispatcher
    arguments = [0]
    own = dispatcher.__dict__.get("__call__")
    call = dispatcher.__call__

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        arguments[0] += _records((*args, *kwargs.values()))
        return call(self, *args, **kwargs)

    dispatcher.__call__ = counted
    try:
        yield arguments
    finally:
        if own is None:
            del dispatcher.__call__
        else:
            dispatcher.__call__ = own


def _records(values: tuple[Any, ...]) -> int:
    """Return how many records Numba makes for arguments: one for each array, buffer and string."""
    kinds = (np.ndarray, str, bytes, bytearray, memoryview)
    return sum(_records(v) if isinstance(v, tuple) else isinstance(v, kinds) for v in values)
