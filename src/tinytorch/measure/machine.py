"""What this machine is: cores, caches, vectors, BLAS; and what disturbs it right now.

A fact that can't be read is absent (None, or an empty tuple), never assumed.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from tinytorch import config
from tinytorch.measure.caches import ROOT, Cache, detect_caches, number_of, sysctl, text_of
from tinytorch.native import level, threads


@dataclass(frozen=True)
class Blas:
    """A BLAS library that NumPy brought into this process."""

    name: str
    version: str | None
    threads: int


@dataclass(frozen=True)
class Machine:
    """What code runs on, as far as it can be read. `isa` is what kernels are compiled for."""

    cpu_model: str
    llvm_cpu: str
    llvm_features_hash: str
    isa: str
    physical_cores: int | None
    logical_cpus: int
    usable_cpus: int
    caches: tuple[Cache, ...]
    memory_bytes: int
    blas: tuple[Blas, ...]
    threading_layer: str
    versions: Mapping[str, str]
    os: str

    @property
    def blas_text(self) -> str:
        """Name each BLAS with its version and threads, or say that there is none."""
        each = [f"{b.name} {b.version or '?'} ({b.threads} threads)" for b in self.blas]
        return ", ".join(each) or "no BLAS that can be asked"

    @property
    def data_caches(self) -> tuple[Cache, ...]:
        """The caches that data passes through, nearest first."""
        return tuple(c for c in self.caches if c.kind != "instruction")

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Machine:
        """Rebuild a machine from `to_dict`'s data."""
        caches = tuple(Cache(**c) for c in data["caches"])
        blas = tuple(Blas(**b) for b in data["blas"])
        return cls(**{**data, "caches": caches, "blas": blas})


# ------------------------------------------------------------------------------------- readers


def linux_cpu_model(cpuinfo: str) -> str | None:
    """Return the CPU's name from /proc/cpuinfo (ARM kernels often give none)."""
    match = re.search(r"^(?:model name|Model)[ \t]*:[ \t]*(\S.*)$", cpuinfo, re.MULTILINE)
    return match[1].strip() if match else None


def _windows_cpu_model() -> str | None:
    if sys.platform != "win32":
        return None
    import winreg

    with (
        suppress(OSError),
        winreg.OpenKey(
            winreg.HKEY_LOCAL_MACHINE, r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
        ) as key,
    ):
        return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    return None


def _cpu_model() -> str:
    if sys.platform == "darwin":
        match = re.search(r"^machdep\.cpu\.brand_string: (.+)$", sysctl(), re.MULTILINE)
        named = match[1].strip() if match else None
    elif sys.platform == "win32":
        named = _windows_cpu_model()
    else:
        named = linux_cpu_model(text_of(ROOT / "proc/cpuinfo") or "")
    return named or _llvm_host()[0]


@functools.cache
def _llvm_host() -> tuple[str, str]:
    """Return LLVM's name of this CPU and its feature string ('' where LLVM can't ask)."""
    from llvmlite import binding

    try:
        features = binding.get_host_cpu_features().flatten()
    except RuntimeError:
        features = ""
    return binding.get_host_cpu_name(), features


def _blas() -> tuple[Blas, ...]:
    import numpy  # noqa: F401  (its BLAS must be loaded to be found)

    return tuple(
        Blas(pool["internal_api"], pool["version"], pool["num_threads"])
        for pool in threads.pools()
        if pool["internal_api"] != "openmp"
    )


def _threading_layer() -> str:
    """Return the layer that Numba's pool runs on, or the one asked for while it isn't started."""
    numba = sys.modules.get("numba")
    if numba is None:
        return "not loaded"
    try:
        return str(numba.threading_layer())
    except ValueError:
        return f"not started ({numba.config.THREADING_LAYER})"


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "unknown"


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


@functools.cache
def fingerprint() -> str:
    """Return 16 hex digits of what decides how fast compiled code can be here.

    LLVM's CPU name and features, the vector level asked for, cache sizes, usable CPUs: neither
    names nor versions nor the moment. It needs neither Numba nor NumPy.
    """
    sizes = [(c.level, c.kind, c.size_bytes) for c in detect_caches()]
    isa = config.get("TINYTORCH_ISA")
    return _digest(*_llvm_host(), isa, sizes, threads.usable_cpus())


@functools.cache
def _lasting() -> Machine:
    import psutil

    cpu, features = _llvm_host()
    libraries = ("numpy", "numba", "llvmlite")
    return Machine(
        cpu_model=_cpu_model(),
        llvm_cpu=cpu,
        llvm_features_hash=_digest(features),
        isa=level.isa(),
        physical_cores=psutil.cpu_count(logical=False),
        logical_cpus=os.cpu_count() or 1,
        usable_cpus=threads.usable_cpus(),
        caches=detect_caches(),
        memory_bytes=psutil.virtual_memory().total,
        blas=_blas(),
        threading_layer=_threading_layer(),
        versions={"python": platform.python_version()} | {n: _version(n) for n in libraries},
        os=platform.platform(),
    )


def detect() -> Machine:
    """Return this machine; what can't change is read once, BLAS and Numba's pool each time."""
    return replace(_lasting(), blas=_blas(), threading_layer=_threading_layer())


# -------------------------------------------------------------------------------- disturbances

_SAMPLE_SECONDS = 0.15
# The least share of our CPUs' time that is worth a word.
_OTHERS_SHARE, _STOLEN_SHARE = 0.10, 0.02


@dataclass(frozen=True)
class Activity:
    """Counters that only grow. Two of them tell what happened on our CPUs in between."""

    seconds: float
    busy_seconds: float
    own_seconds: float
    stolen_seconds: float
    throttled_periods: int
    thermal_throttles: int


def throttled_periods(root: Path = ROOT) -> int:
    """Return how often this process's control group used up its CPU quota (0 where unknown)."""
    total = 0
    for line in (text_of(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        # NOTE: inside a container the group may be mounted as the root of its own tree.
        stat = text_of(base / group.lstrip("/") / "cpu.stat") or text_of(base / "cpu.stat") or ""
        match = re.search(r"^nr_throttled (\d+)$", stat, re.MULTILINE)
        total += int(match[1]) if match else 0
    return total


def thermal_throttles(root: Path = ROOT) -> int:
    """Return how often cores were slowed down for their heat (Intel on Linux; 0 elsewhere)."""
    counts = root.glob("sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count")
    return sum(number_of(path) or 0 for path in counts)


def activity(root: Path = ROOT) -> Activity:
    """Return the counters of this moment, for `warnings(since=...)` later on."""
    import psutil

    cpus = psutil.cpu_times(percpu=True)
    if hasattr(os, "sched_getaffinity"):
        cpus = [cpus[i] for i in os.sched_getaffinity(0) if i < len(cpus)]
    own = psutil.Process().cpu_times()
    return Activity(
        seconds=time.monotonic(),
        busy_seconds=sum(getattr(c, f, 0.0) for c in cpus for f in ("user", "system", "nice")),
        own_seconds=sum(own[:4]),
        stolen_seconds=sum(getattr(c, "steal", 0.0) for c in cpus),
        throttled_periods=throttled_periods(root),
        thermal_throttles=thermal_throttles(root),
    )


def disturbances(before: Activity, after: Activity, cpus: int) -> list[str]:
    """Say what disturbed `cpus` CPUs between two moments; a sentence each, empty when nothing."""
    elapsed = max(after.seconds - before.seconds, 1e-9)
    busy = after.busy_seconds - before.busy_seconds
    others = (busy - (after.own_seconds - before.own_seconds)) / elapsed
    stolen = (after.stolen_seconds - before.stolen_seconds) / elapsed / cpus
    throttled = after.throttled_periods - before.throttled_periods
    hot = after.thermal_throttles - before.thermal_throttles
    found = []
    if others > _OTHERS_SHARE * cpus:
        found.append(
            f"other programs used {others:.1f} of {cpus} CPUs: close them, or trust ratios and "
            "intervals rather than times"
        )
    if stolen > _STOLEN_SHARE:
        found.append(
            f"the hypervisor gave {stolen:.0%} of this virtual machine's CPU time to its "
            "neighbours: measure again later, or on a machine of your own"
        )
    if throttled > 0:
        found.append(
            f"the control group's CPU quota ran out {throttled} times: raise the quota, or use "
            "fewer threads (TINYTORCH_NUM_THREADS)"
        )
    if hot > 0:
        found.append(f"cores were slowed down for heat {hot} times: let the machine cool down")
    return found


def slow_clock(root: Path = ROOT) -> str | None:
    """Return a sentence if Linux is told to keep the CPU's clock low, else None."""
    for policy in sorted(root.glob("sys/devices/system/cpu/cpufreq/policy*")):
        # NOTE: these drivers call their normal, dynamic mode 'powersave' too.
        dynamic = text_of(policy / "scaling_driver") in ("intel_pstate", "amd-pstate-epp")
        saving = text_of(policy / "energy_performance_preference") == "power"
        if text_of(policy / "scaling_governor") == "powersave" and (saving or not dynamic):
            return (
                "the CPU's frequency governor is set to save power: choose 'performance' "
                "(`cpupower frequency-set -g performance`) while you measure"
            )
    return None


def crowded(load: float, cpus: int) -> str | None:
    """Return a sentence if more threads wanted to run in the last minute than there are CPUs."""
    if load <= 1.25 * cpus:
        return None
    return f"the load average is {load:.1f} on {cpus} CPUs: wait until other work has ended"


def _on_battery() -> str | None:
    import psutil

    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    if battery is None or battery.power_plugged is not False:
        return None
    return "this machine runs on its battery, which lowers its clock: plug it in"


def warnings(since: Activity | None = None, root: Path = ROOT) -> list[str]:
    """Say what may spoil a measurement, one sentence each: what was seen, and what to do.

    Without `since`, the machine is watched for 0.15 s now; with it, the whole time since then is
    judged, which also sees our own quota and heat run out.
    """
    if since is None:
        since = activity(root)
        time.sleep(_SAMPLE_SECONDS)
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    standing = [slow_clock(root), _on_battery()]
    if hasattr(os, "getloadavg"):
        standing.append(crowded(os.getloadavg()[0], os.cpu_count() or 1))
    return disturbances(since, activity(root), cpus) + [s for s in standing if s]
