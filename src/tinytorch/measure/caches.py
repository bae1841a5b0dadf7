"""The caches of this machine, as each operating system tells of them.

What can't be read is absent: no cache, no size and no number of ways is ever assumed.
"""

from __future__ import annotations

import functools
import math
import re
import struct
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")


@dataclass(frozen=True)
class Cache:
    """One cache of one core. `shared_by` counts the logical CPUs that use the same one."""

    level: int
    kind: str
    size_bytes: int
    ways: int | None
    line_bytes: int | None
    shared_by: int | None


def instances(threads: int, shared_by: int | None) -> int:
    """Return how many caches `threads` threads use, one for each set of CPUs that share it."""
    return math.ceil(threads / (shared_by or 1))


def text_of(path: Path) -> str | None:
    """Return a file's text without the blanks around it, None where it can't be read."""
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8").strip()
    return None


def number_of(path: Path) -> int | None:
    """Return the whole number in a file, None where there is none."""
    text = text_of(path)
    return int(text) if text and text.isdigit() else None


def count_cpus(listed: str) -> int:
    """Return how many CPUs a kernel list such as '0-3,8,10-11' names."""
    spans = [part.split("-") for part in listed.split(",") if part.strip()]
    return sum(int(span[-1]) - int(span[0]) + 1 for span in spans)


def linux_caches(root: Path = ROOT) -> tuple[Cache, ...]:
    """Return CPU 0's caches from /sys; entries without a level, a kind or a size are left out."""
    found = []
    for folder in sorted(root.glob("sys/devices/system/cpu/cpu0/cache/index*")):
        level, kind, size = (text_of(folder / n) for n in ("level", "type", "size"))
        match = re.fullmatch(r"(\d+)([KMG]?)", size or "")
        if not (level and kind and match):
            continue
        shared = text_of(folder / "shared_cpu_list")
        found.append(
            Cache(
                level=int(level),
                kind=kind.lower(),
                size_bytes=int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2]],
                ways=number_of(folder / "ways_of_associativity") or None,  # 0: not known
                line_bytes=number_of(folder / "coherency_line_size") or None,
                shared_by=count_cpus(shared) if shared else None,
            )
        )
    return _ordered(found)


def _ordered(caches: list[Cache]) -> tuple[Cache, ...]:
    return tuple(sorted(caches, key=lambda c: (c.level, c.kind, c.size_bytes)))


def macos_caches(sysctl: str) -> tuple[Cache, ...]:
    """Return the performance cores' caches from the output of `sysctl hw`, as 'name: value' lines.

    Apple's own chips list them under hw.perflevel0; the plain names speak of the slowest cores.
    """
    facts = dict(line.split(": ", 1) for line in sysctl.splitlines() if ": " in line)
    line = facts.get("hw.cachelinesize")
    found = []
    for level, kind, name, sharers in (
        (1, "data", "l1dcachesize", None),
        (1, "instruction", "l1icachesize", None),
        (2, "unified", "l2cachesize", "cpusperl2"),
        (3, "unified", "l3cachesize", "cpusperl3"),
    ):
        size = int(facts.get(f"hw.perflevel0.{name}") or facts.get(f"hw.{name}") or 0)
        shared = facts.get(f"hw.perflevel0.{sharers}") if sharers else "1"
        if size:
            found.append(
                Cache(
                    level,
                    kind,
                    size,
                    ways=None,
                    line_bytes=int(line) if line else None,
                    shared_by=int(shared) if shared else None,
                )
            )
    return _ordered(found)


def windows_caches(records: bytes) -> tuple[Cache, ...]:
    """Return the first caches of each kind from GetLogicalProcessorInformation's 64-bit records.

    Each is 32 bytes: the mask of CPUs, a relation (2: cache), then level, ways, line, size, kind.
    """
    kinds = {0: "unified", 1: "instruction", 2: "data"}
    first: dict[tuple[int, int], Cache] = {}
    for mask, relation, level, ways, line, size, kind in struct.iter_unpack(
        "<QI4xBBHII4x", records
    ):
        if relation == 2 and kind in kinds:
            known_ways = ways if 0 < ways < 0xFF else None  # 0xFF: fully associative
            cache = Cache(level, kinds[kind], size, known_ways, line or None, mask.bit_count())
            first.setdefault((level, kind), cache)
    return _ordered(list(first.values()))


def _windows_records() -> bytes:
    if sys.platform != "win32":
        return b""
    import ctypes

    ask = ctypes.windll.kernel32.GetLogicalProcessorInformation
    length = ctypes.c_ulong(0)
    ask(None, ctypes.byref(length))
    buffer = ctypes.create_string_buffer(length.value)
    return buffer.raw if ask(buffer, ctypes.byref(length)) else b""


@functools.cache
def sysctl() -> str:
    """Return what macOS tells of its hardware, as 'name: value' lines ('' elsewhere)."""
    with suppress(OSError, subprocess.SubprocessError):
        command = ["sysctl", "hw", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, timeout=5).stdout
    return ""


@functools.cache
def detect_caches() -> tuple[Cache, ...]:
    """Return this machine's caches, nearest first; empty where none can be read."""
    if sys.platform == "darwin":
        return macos_caches(sysctl())
    if sys.platform == "win32":
        # NOTE: the records of a 32-bit Python are laid out otherwise; there, caches stay unknown.
        return windows_caches(_windows_records()) if struct.calcsize("P") == 8 else ()
    return linux_caches()
