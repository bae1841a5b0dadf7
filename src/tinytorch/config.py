"""Every environment switch, in one table; nothing else reads the environment.

A switch is read when it is asked for, never at import, so a test or a notebook may set it late.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tinytorch.errors import InvalidValue


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError("must be at least 1")
    return value


def _flag(text: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.lower() not in words:
        raise ValueError("must be 1 or 0")
    return words[text.lower()]


def _isa(text: str) -> str:
    if text not in ("avx512", "avx2", "v128"):
        raise ValueError("must be avx512, avx2 or v128")
    return text


def _int8(text: str) -> str:
    if text not in ("vnni", "emulated", "maddubs", "int16", "portable"):
        raise ValueError("must be vnni, emulated, maddubs, int16 or portable")
    return text


@dataclass(frozen=True)
class Switch:
    """One environment variable: its name, what it does, how it is read, what unset means."""

    name: str
    help: str
    parse: Callable[[str], object]
    unset: str


SWITCHES = (
    Switch("TINYTORCH_BACKEND", "backend that is current at start", str, "auto"),
    Switch(
        "TINYTORCH_NUM_THREADS",
        "threads for native kernels and BLAS together",
        _positive,
        "every usable CPU",
    ),
    Switch(
        "TINYTORCH_CACHE_DIR",
        "folder for compiled code, ceilings and the tuning table",
        Path,
        "the user's cache folder",
    ),
    Switch(
        "TINYTORCH_ISA",
        "vector width to compile for: avx512, avx2 or v128",
        _isa,
        "what the CPU has",
    ),
    Switch(
        "TINYTORCH_INT8",
        "how INT8 codes are multiplied: vnni, emulated, maddubs, int16 or portable",
        _int8,
        "the fastest that the CPU has",
    ),
    Switch(
        "TINYTORCH_TUNE",
        "1: `auto` measures unseen shapes on their first call",
        _flag,
        "0: a fixed order until `tito tune`",
    ),
)
_BY_NAME = {switch.name: switch for switch in SWITCHES}


def get(name: str) -> object | None:
    """Return the parsed value of a switch, or None where it is unset or empty.

    Raises InvalidValue with the text seen when it can't be read.
    """
    switch = _BY_NAME[name]
    text = os.environ.get(name, "")
    if not text:
        return None
    try:
        return switch.parse(text)
    except ValueError as error:
        raise InvalidValue(f"{name}={text!r} can't be used ({error}): {switch.help}") from error


def cache_dir() -> Path:
    """Return the folder for compiled code, ceilings and tuning entries (it may not exist yet)."""
    chosen = get("TINYTORCH_CACHE_DIR")
    if isinstance(chosen, Path):
        return chosen
    import platformdirs

    return Path(platformdirs.user_cache_dir("tinytorch"))
