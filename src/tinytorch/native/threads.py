"""The one owner of thread counts and pools: Numba's for our kernels, OpenBLAS's for the library's.

Two pools on the same cores fight: after a call, the workers of each spin while they wait for the
next, and the other pool's work has to wait for them: with the defaults, a small product and a small
parallel kernel in turns take many times the sum of both (`make bench` measures it). So OpenBLAS is
given our pool (`native/blas.py`), and how long that pool's workers spin is chosen here: long enough
to catch the next kernel of a program, for waking one that sleeps takes longer than a small kernel
does, and no longer than that, for the cores may be wanted elsewhere. libgomp reads the wish when it
is loaded, so `prepare` runs before Numba is imported, and says so when it came too late.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from tinytorch import config
from tinytorch.errors import InvalidValue

# In looks at the place where work is announced.
_WAIT = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "20000"}


def _quota(folder: Path) -> float:
    with contextlib.suppress(OSError, ValueError):  # cgroup v2
        quota, period = (folder / "cpu.max").read_text().split()
        return int(quota) / int(period)  # "max" is no number, and no limit
    with contextlib.suppress(OSError, ValueError):  # cgroup v1
        granted = int((folder / "cpu.cfs_quota_us").read_text())
        if granted > 0:
            return granted / int((folder / "cpu.cfs_period_us").read_text())
    return math.inf


def cgroup_quota(root: Path = Path("/")) -> float:
    """Return how many CPUs' worth of time this process's control groups grant (inf: no limit).

    A container sees its own group as the root; elsewhere the group has a path, and each group above
    it may grant less.
    """
    mounts = (root / "sys/fs/cgroup", root / "sys/fs/cgroup/cpu")
    groups = [PurePosixPath()]
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            own = PurePosixPath(line.split(":", 2)[-1].lstrip("/"))
            groups += [own, *own.parents]
    return min(_quota(mount / group) for mount in mounts for group in groups)


@functools.cache
def usable_cpus() -> int:
    """Return the CPUs this process may use: its affinity mask, cut to its control group's quota."""
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, cgroup_quota())))


def _default() -> int:
    chosen = config.get("TINYTORCH_NUM_THREADS")
    return min(chosen, usable_cpus()) if isinstance(chosen, int) else usable_cpus()


# The count in use; None until somebody asks (`get_num_threads`).
current: int | None = None
_forked = False


def get_num_threads() -> int:
    """Return how many threads a kernel or a BLAS call may use now."""
    global current
    if current is None:
        current = _default()
    return current


def _libgomp_loaded() -> bool:
    with contextlib.suppress(OSError):
        return "/libgomp.so" in Path("/proc/self/maps").read_text()
    return False


@functools.cache
def prepare() -> None:
    """Make the pools ready to live side by side; called once, before Numba is imported."""
    wanted = os.environ.get("OMP_WAIT_POLICY", "").lower()
    if _libgomp_loaded() and wanted != "passive" and usable_cpus() > 1:
        warnings.warn(
            "OpenMP was loaded before tinytorch's kernels, so its idle workers will spin and slow "
            "down BLAS calls between kernels: import tinytorch's kernels first (`tinytorch.warmup"
            "()`), or start Python with OMP_WAIT_POLICY=passive",
            RuntimeWarning,
            stacklevel=2,
        )
    if not wanted:
        os.environ.update({k: v for k, v in _WAIT.items() if k not in os.environ})
    # NOTE: Numba sizes its pool once, at import, by affinity alone; the quota is ours to apply. A
    # change after its import would make it read its whole configuration again.
    if "numba" not in sys.modules:
        os.environ.setdefault("NUMBA_NUM_THREADS", str(usable_cpus()))
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)
    if get_num_threads() < usable_cpus() or usable_cpus() < (os.cpu_count() or 1):
        _apply(get_num_threads())


def _after_fork() -> None:
    """Use one thread in a forked process: GNU OpenMP's pool is not copied, and not made anew."""
    global current, _forked
    current, _forked = 1, True
    blas = sys.modules.get("tinytorch.native.blas")
    if blas is not None:
        blas.release()


def _apply(count: int) -> None:
    import numpy  # noqa: F401  (its BLAS must be loaded to be found)
    from threadpoolctl import ThreadpoolController

    # Looked for each time: SciPy, for one, brings a BLAS of its own when it is imported.
    for library in ThreadpoolController().select(user_api="blas").lib_controllers:
        library.set_num_threads(count)
    if "numba" in sys.modules:
        import numba

        numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))


def set_num_threads(count: int) -> None:
    """Let kernels and BLAS use `count` threads, 1 … `usable_cpus()`.

    Raises InvalidValue for anything else.
    """
    global current
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= usable_cpus():
        raise InvalidValue(
            f"the number of threads must be an int from 1 to {usable_cpus()} (the CPUs this "
            f"process may use), got {count!r}"
        )
    if _forked and count > 1:
        raise InvalidValue(
            f"{count} threads asked for in a process that was forked after kernels were loaded, "
            "which can use one: start it with multiprocessing's method 'spawn'"
        )
    current = count
    _apply(count)


@contextlib.contextmanager
def use_threads(count: int) -> Iterator[None]:
    """Use `count` threads inside the block, and the previous number after it."""
    previous = get_num_threads()
    set_num_threads(count)
    try:
        yield
    finally:
        set_num_threads(previous)


def pools() -> list[dict[str, Any]]:
    """Describe every thread pool loaded in this process (library, version, threads)."""
    from threadpoolctl import threadpool_info

    return [
        {key: info.get(key) for key in ("internal_api", "version", "num_threads", "architecture")}
        for info in threadpool_info()
    ]
