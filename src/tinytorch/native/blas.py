"""OpenBLAS on our threads: one pool serves the kernels and the library, so none waits for another.

Two pools on the same cores fight: after a call the workers of each spin while they wait for the
next, and the other's work waits for the core that they hold. OpenBLAS (0.3.27 and later) takes a
function that runs its jobs; ours hands them to the pool that Numba's `prange` uses. Where the
library has no such function (older ones, MKL, Accelerate), or is loaded later (SciPy brings an
OpenBLAS of its own), it keeps the threads that it has.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from typing import Any, cast

from llvmlite import ir

from tinytorch.native import codecache

_numba = codecache.numba()
_types = _numba.types

_NAMES = (
    "openblas_set_threads_callback_function",
    "openblas_set_threads_callback_function64_",
    "scipy_openblas_set_threads_callback_function",
    "scipy_openblas_set_threads_callback_function64_",
)


@_numba.extending.intrinsic
def _run(typing_context, job, number, place, data):
    """Call `job(number, place, data)`: C's void (*)(int, void *, int), by its address."""

    def generate(context, builder, signature, args):
        address, number, place, data = args
        word, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [word, pointer, word])
        values = [
            builder.trunc(number, word),
            builder.inttoptr(place, pointer),
            builder.trunc(data, word),
        ]
        builder.call(builder.inttoptr(address, kind.as_pointer()), values)
        return context.get_dummy_value()

    return _types.void(*[_types.int64] * 4), generate


@codecache.jit(parallel=True)
def _jobs(job, count, size, jobs, data):
    for i in codecache.prange(count):
        _run(job, i, jobs + i * size, data)


_share: Any = cast(Any, _jobs).parallel


def _perform(is_synchronous, job, count, size, jobs, data):
    _share(job, count, size, jobs, data)


@functools.cache
def _performer() -> Any:
    """Return our compiled function of OpenBLAS's type openblas_threads_callback."""
    word, address = _types.int32, _types.int64
    return codecache.c_function(_perform, _types.void(word, address, word, address, address, word))


def _setters() -> list[Any]:
    """Return each loaded OpenBLAS's function that says who runs its jobs."""
    import numpy  # noqa: F401  (its BLAS must be loaded to be found)
    from threadpoolctl import ThreadpoolController

    found = []
    for library in ThreadpoolController().select(internal_api="openblas").lib_controllers:
        if getattr(library, "threading_layer", None) != "pthreads":
            continue  # one built with OpenMP has a pool that is not its own to give away
        loaded = ctypes.CDLL(library.filepath)
        for name in _NAMES:
            with contextlib.suppress(AttributeError):
                setter = getattr(loaded, name)
                setter.argtypes, setter.restype = [ctypes.c_void_p], None
                found.append(setter)
    return found


@functools.cache
def adopt() -> int:
    """Let every OpenBLAS that is loaded run on our pool, from now on; return how many do.

    Nothing is changed where Numba's pool can't be entered from two threads at once.
    """
    _numba.np.ufunc.parallel._launch_threads()
    if _numba.threading_layer() not in ("omp", "tbb"):
        return 0
    setters = _setters()
    for setter in setters:
        setter(_performer().address)
    _adopted.extend(setters)
    return len(setters)


_adopted: list[Any] = []


def release() -> None:
    """Give every OpenBLAS its own threads back: in a forked process ours are gone."""
    while _adopted:
        _adopted.pop()(None)
