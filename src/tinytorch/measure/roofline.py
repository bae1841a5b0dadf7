"""Roofline arithmetic: FLOPs, bytes and seconds against ceilings.

Williams, Waterman and Patterson, "Roofline: an insightful visual performance model" (2009): a
kernel of arithmetic intensity I (FLOP per byte moved) can't exceed
min(peak FLOP/s, I x bandwidth). Left of the ridge point (peak / bandwidth) memory binds it, right
of it arithmetic does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from tinytorch.errors import InvalidValue

Bound = Literal["memory", "compute"]


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not (value > 0 and math.isfinite(value)):
            raise InvalidValue(f"{name} must be a positive number, got {value!r}")


def arithmetic_intensity(flops: float, bytes_moved: float) -> float:
    """Return FLOP per byte: 2N^3 / 12N^2 = N/6 for a float32 product of N x N matrices."""
    _positive(bytes_moved=bytes_moved)
    return flops / bytes_moved


def ridge_point(peak_flops_per_s: float, bytes_per_s: float) -> float:
    """Return the intensity (FLOP/byte) at which a machine turns from memory- to compute-bound."""
    _positive(peak_flops_per_s=peak_flops_per_s, bytes_per_s=bytes_per_s)
    return peak_flops_per_s / bytes_per_s


def attainable_flops_per_s(intensity: float, peak_flops_per_s: float, bytes_per_s: float) -> float:
    """Return the roof over an intensity, in FLOP/s."""
    _positive(peak_flops_per_s=peak_flops_per_s, bytes_per_s=bytes_per_s)
    return min(peak_flops_per_s, intensity * bytes_per_s)


def gflops_per_s(flops: float, seconds: float) -> float:
    """Return 1e9 FLOP per second: 2 x 1024^3 FLOP in 10 ms are 215 GFLOP/s."""
    _positive(seconds=seconds)
    return flops / seconds / 1e9


def elementwise_passes(temporaries: int) -> int:
    """Return how often an elementwise chain crosses memory: one read and one write a step.

    A chain with t temporaries has t + 1 steps. Unfused tanh-GELU keeps seven: 16 passes; fused, it
    keeps none: 2. (A step with two array operands reads both: see docs/claims.md.)
    """
    if temporaries < 0:
        raise InvalidValue(f"temporaries can't be negative, got {temporaries}")
    return 2 * (temporaries + 1)


def time_saved_fraction(slow_seconds: float, fast_seconds: float) -> float:
    """Return the share of the slow time that the fast one does without: 8 ms to 2.5 ms, 0.6875."""
    _positive(slow_seconds=slow_seconds)
    return (slow_seconds - fast_seconds) / slow_seconds


def tile_size(cache_bytes: int, itemsize: int = 4, resident_tiles: int = 3) -> int:
    """Return the largest square tile of which `resident_tiles` fit the cache together.

    A product keeps a tile of each matrix: 3 t^2 itemsize <= cache. 256 KiB of float32 give 147.
    """
    _positive(cache_bytes=cache_bytes, itemsize=itemsize, resident_tiles=resident_tiles)
    return max(1, math.isqrt(cache_bytes // (itemsize * resident_tiles)))


def practical_tile_size(cache_bytes: int, itemsize: int = 4) -> int:
    """Return the power of two at or below `tile_size`, which leaves room for everything else."""
    return 1 << (tile_size(cache_bytes, itemsize).bit_length() - 1)


@dataclass(frozen=True)
class Roof:
    """The two ceilings over one data type at one thread count, and where the second comes from."""

    peak_flops_per_s: float
    bytes_per_s: float
    level: str

    @property
    def ridge(self) -> float:
        """The ridge point, FLOP per byte."""
        return ridge_point(self.peak_flops_per_s, self.bytes_per_s)


@dataclass(frozen=True)
class Placement:
    """Where a measured kernel stands under its roof.

    `fraction` is of the least time the roof allows, so it also serves kernels that compute
    nothing: max(FLOPs / peak, bytes / bandwidth) / seconds.
    """

    flops: float
    bytes_moved: float
    seconds: float
    roof: Roof

    @property
    def intensity(self) -> float:
        """FLOP per byte of compulsory traffic."""
        return arithmetic_intensity(self.flops, self.bytes_moved)

    @property
    def flops_per_s(self) -> float:
        """Achieved FLOP/s."""
        return self.flops / self.seconds

    @property
    def bytes_per_s(self) -> float:
        """Achieved compulsory bytes per second."""
        return self.bytes_moved / self.seconds

    @property
    def bound(self) -> Bound:
        """Which ceiling stands above this intensity."""
        return "memory" if self.intensity < self.roof.ridge else "compute"

    @property
    def least_seconds(self) -> float:
        """The time that the roof allows at best."""
        return max(
            self.flops / self.roof.peak_flops_per_s, self.bytes_moved / self.roof.bytes_per_s
        )

    @property
    def fraction(self) -> float:
        """The share of the attainable speed that was reached (over 1: the ceiling was beaten)."""
        return self.least_seconds / self.seconds
