"""The vector level: how wide this machine's registers are, and how wide some machine code is.

Nothing here loads Numba, which has to be told the level before it compiles, or NumPy.
"""

from __future__ import annotations

import functools
import platform
import re
from typing import TYPE_CHECKING

from llvmlite import binding

from tinytorch import config
from tinytorch.errors import InvalidValue

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

_VECTOR_BYTES = {"avx512": 64, "avx2": 32, "v128": 16}
_X86_NEEDS = {
    "avx512": ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
    "avx2": ("avx2", "fma"),
}


@functools.cache
def _host_isa() -> str:
    try:
        features = binding.get_host_cpu_features()
    except RuntimeError:  # LLVM can't ask this CPU
        return "v128"
    for isa, needed in _X86_NEEDS.items():
        if all(features.get(name, False) for name in needed):
            return isa
    return "v128"


def isa() -> str:
    """Return the vector level that kernels are compiled for: 'avx512', 'avx2' or 'v128'.

    'v128' is any machine with 16-byte vectors: SSE on x86-64, NEON on ARM. TINYTORCH_ISA lowers
    the level; raises InvalidValue where it asks for more than this CPU has.
    """
    asked = config.get("TINYTORCH_ISA")
    host = _host_isa()
    if asked is None:
        return host
    if _VECTOR_BYTES[str(asked)] > _VECTOR_BYTES[host]:
        raise InvalidValue(
            f"TINYTORCH_ISA={asked} asks for more than this CPU has ({host}): its code would die "
            f"of an illegal instruction; unset it, or set {host} or less"
        )
    return str(asked)


def _is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


@functools.cache
def _host_features() -> frozenset[str]:
    try:
        features = binding.get_host_cpu_features()
    except RuntimeError:
        return frozenset()
    return frozenset(name for name, there in features.items() if there)


def vnni_feature() -> str | None:
    """Return LLVM's name for this CPU's dot product of bytes at the level `isa()`, or None."""
    needed = {"avx512": "avx512vnni", "avx2": "avxvnni"}.get(isa())
    return needed if needed in _host_features() else None


def int8() -> str:
    """Return how INT8 codes are multiplied: one of the dots that native/int8/dots.py describes.

    TINYTORCH_INT8 forces one; raises InvalidValue where this CPU has no such instruction.
    """
    asked = config.get("TINYTORCH_INT8")
    has = {
        "vnni": vnni_feature() is not None,
        "maddubs": _is_x86() and "ssse3" in _host_features(),
        "int16": _is_x86(),
        "emulated": True,
        "portable": True,
    }
    if asked is None:
        return next(name for name in ("vnni", "maddubs", "int16", "portable") if has[name])
    if not has[str(asked)]:
        there = ", ".join(name for name, is_there in has.items() if is_there)
        raise InvalidValue(
            f"TINYTORCH_INT8={asked} asks for an instruction that this CPU lacks at the level "
            f"{isa()}: unset it, or choose from {there}"
        )
    return str(asked)


def vector_bytes() -> int:
    """Return the bytes in one vector register at the level `isa()`."""
    return _VECTOR_BYTES[isa()]


def lanes(dtype: DTypeLike) -> int:
    """Return how many elements of `dtype` one vector register holds (at least 1)."""
    import numpy as np

    return max(1, vector_bytes() // np.dtype(dtype).itemsize)


def register_count() -> int:
    """Return how many vector registers the machine code can name at the level `isa()`."""
    is_arm = platform.machine().lower() in ("arm64", "aarch64")
    return 32 if is_arm or isa() == "avx512" else 16


# NOTE: the suffix tells packed from scalar: vmulps works on a whole register, vmulss on one float.
_X86_FLOAT = re.compile(
    r"^\s+v?(?:add|sub|mul|div|sqrt|min|max|fn?m(?:add|sub|addsub|subadd)(?:132|213|231))"
    r"(?P<kind>[ps])[sd]\s.*?%(?P<register>[xyz]mm)",
    re.MULTILINE,
)
_ARM_FLOAT = re.compile(
    r"^\s+f(?:add|sub|mul|div|sqrt|mla|mls|madd|msub|nmadd|nmsub|min|max|minnm|maxnm)"
    r"(?:\.(?P<suffix>[248][sd])\s|\s+(?P<register>[vzsd])\d)",
    re.MULTILINE,
)


def register_uses(asm: str) -> dict[str, int]:
    """Count the floating-point arithmetic instructions in `asm`, by the registers they work on.

    The keys 'zmm', 'ymm' and 'xmm' count packed instructions on x86-64, 'neon' and 'sve' those on
    ARM, and 'scalar' what works on one number, whatever register that number sits in.
    """
    uses = dict.fromkeys(("zmm", "ymm", "xmm", "neon", "sve", "scalar"), 0)
    for match in _X86_FLOAT.finditer(asm):
        uses[match["register"] if match["kind"] == "p" else "scalar"] += 1
    for match in _ARM_FLOAT.finditer(asm):
        packed = "neon" if match["suffix"] else {"v": "neon", "z": "sve"}.get(match["register"])
        uses[packed or "scalar"] += 1
    return uses
