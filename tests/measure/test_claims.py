"""The arithmetic behind docs/claims.md: what our own formulas give for figures that are told.

Numbers in these tests are the told ones or follow from them; none was measured.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tinytorch import ops
from tinytorch.kernels import registry
from tinytorch.measure.cachesim import CacheLevel, simulate_matmul
from tinytorch.measure.memory import measure_memory
from tinytorch.measure.roofline import (
    arithmetic_intensity,
    attainable_flops_per_s,
    elementwise_passes,
    gflops_per_s,
    practical_tile_size,
    ridge_point,
    tile_size,
    time_saved_fraction,
)
from tinytorch.ops.spec import Shape

PAGE = Path(__file__).resolve().parents[2] / "docs/claims.md"
KIB, MIB = 1 << 10, 1 << 20
MB, GB = 1e6, 1e9
FLOAT32_BYTES = 4
# The bandwidth that the sources calculate with.
BYTES_PER_S = 50 * GB

about = pytest.approx


def intensity(op: str, *shapes: Shape) -> float:
    cost = ops.get(op).cost(shapes, "float32")
    return arithmetic_intensity(cost.flops, cost.bytes_moved)


# --------------------------------------------------------------------- arithmetic intensity


def test_product_of_1024() -> None:
    cost = ops.get("matmul").cost(((1024, 1024), (1024, 1024)), "float32")
    assert cost.flops == 2_147_483_648
    assert cost.bytes_moved == 12 * MIB == 12_582_912
    assert cost.bytes_moved / MB == about(12.58, abs=0.01)
    assert arithmetic_intensity(cost.flops, cost.bytes_moved) == about(1024 / 6)


def test_product_reads_two_matrices() -> None:
    n = 1024
    moved = ops.get("matmul").cost(((n, n), (n, n)), "float32").bytes_moved
    written = n * n * FLOAT32_BYTES
    assert (moved - written) / FLOAT32_BYTES == 2 * n * n


def test_add_and_multiply() -> None:
    for op in ("add", "multiply"):
        assert intensity(op, (1_000_000,), (1_000_000,)) == about(1 / 12)


def test_product_against_add() -> None:
    product = intensity("matmul", (1024, 1024), (1024, 1024))
    assert product / intensity("add", (1024, 1024), (1024, 1024)) == about(2 * 1024)


def test_gelu_is_at_one_only_when_fused() -> None:
    flops, element_bytes = 9, FLOAT32_BYTES
    assert intensity("gelu", (1000,)) == arithmetic_intensity(flops, 2 * element_bytes) == 1.125
    unfused = arithmetic_intensity(flops, elementwise_passes(7) * element_bytes)
    assert unfused == about(0.14, abs=0.001)


def test_blas_levels_rise() -> None:
    n = 4096
    axpy = arithmetic_intensity(2 * n, 3 * n * FLOAT32_BYTES)
    gemv = intensity("matmul", (n, n), (n, 1))
    assert axpy == about(1 / 6)
    assert gemv == about(0.5, rel=1e-3)
    assert intensity("matmul", (n, n), (n, n)) > 1000 * gemv


def test_the_flat_line_is_the_peak() -> None:
    peak, bandwidth = 500 * GB, BYTES_PER_S
    ridge = ridge_point(peak, bandwidth)
    left, right = ([f * ridge for f in range_] for range_ in ((0.1, 0.5), (2, 10)))
    assert [attainable_flops_per_s(i, peak, bandwidth) / i for i in left] == [bandwidth] * 2
    assert [attainable_flops_per_s(i, peak, bandwidth) for i in right] == [peak] * 2


# ---------------------------------------------------------------------- GELU and its traffic


class Counted(np.ndarray[Any, Any]):
    """An array that counts how often operations read and write whole arrays."""

    reads: ClassVar[int] = 0
    writes: ClassVar[int] = 0

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        read = {id(value) for value in inputs if isinstance(value, np.ndarray) and value.ndim}
        Counted.reads += len(read)
        Counted.writes += 1
        plain = [v.view(np.ndarray) if isinstance(v, Counted) else v for v in inputs]
        return np.asarray(getattr(ufunc, method)(*plain, **keywords)).view(Counted)


def passes(function: Callable[[Any], Any]) -> tuple[int, int]:
    """Return how many whole arrays a function of one array reads, and how many it writes."""
    Counted.reads = Counted.writes = 0
    function(np.ones(10, np.float32).view(Counted))
    return Counted.reads, Counted.writes


def eight_steps(x: Any) -> Any:
    """The chain as it is told: a name for each step, the cube by `**`."""
    cube = x**3
    scaled = np.float32(0.044715) * cube
    inner = x + scaled
    argument = np.float32(0.7978846) * inner
    curve = np.tanh(argument)
    shifted = np.float32(1) + curve
    product = x * shifted
    return np.float32(0.5) * product


def one_expression(x: Any) -> Any:
    """The form that is told to be fused: one line of NumPy."""
    root = np.sqrt(2.0 / np.pi)
    return 0.5 * x * (1.0 + np.tanh(root * (x + 0.044715 * x**3)))


def test_eight_steps_make_eighteen_passes() -> None:
    assert passes(eight_steps) == (10, 8)


def test_our_unfused_rung_makes_twenty_one() -> None:
    assert passes(registry.get("gelu", "unfused").function) == (12, 9)


def test_fourteen_leaves_the_ends_out() -> None:
    assert elementwise_passes(7) == 16 == 14 + 2
    counts = {n: n * 4_000_000 for n in (14, 16, 18)}
    assert counts == {14: 56_000_000, 16: 64_000_000, 18: 72_000_000}


def test_214_is_in_mebibytes() -> None:
    moved = (elementwise_passes(7) - 2) * 4_000_000 * FLOAT32_BYTES
    assert moved / MB == 224
    assert moved / MIB == about(213.6, abs=0.05)
    assert moved / BYTES_PER_S * 1e3 == about(4.48)
    told_ms = 214 * MB / BYTES_PER_S * 1e3
    assert told_ms == about(4.28)


def test_seven_eight_or_nine_times_the_traffic() -> None:
    assert [n / elementwise_passes(0) for n in (14, 16, 18)] == [7, 8, 9]


def test_61_minus_8_mixes_units() -> None:
    unfused, fused = (elementwise_passes(t) * 1_000_000 * FLOAT32_BYTES for t in (7, 0))
    assert (unfused / MB, fused / MB) == (64, 8)
    assert (unfused / MIB, fused / MIB) == about((61.0, 7.6), abs=0.05)
    assert (unfused - fused) / MB == 56
    assert (unfused - fused) / MIB == about(53.4, abs=0.05)


def test_87_5_per_cent_and_not_60() -> None:
    assert time_saved_fraction(16, 2) == 0.875
    assert time_saved_fraction(61, 8) == about(0.869, abs=0.001)
    assert time_saved_fraction(18, 2) == about(0.889, abs=0.001)
    assert time_saved_fraction(5, 2) == 0.6


def test_a_millisecond_a_call_and_96_calls() -> None:
    saved_ms = 56 * MB / BYTES_PER_S * 1e3
    assert saved_ms == about(1.12)
    assert 96 * saved_ms == about(107.5, abs=0.05)


def test_one_expression_is_not_fused() -> None:
    use = measure_memory(one_expression, np.ones(10_000, np.float32))
    if use.allocations is None:
        pytest.skip("allocations can't be counted here")
    assert use.allocations > 1
    assert passes(one_expression)[1] == 8


def test_a_numpy_scalar_widens_to_float64() -> None:
    assert one_expression(np.ones(3, np.float32)).dtype == np.float64
    assert (np.ones(3, np.float32) * float(np.sqrt(2 / np.pi))).dtype == np.float32


def test_time_saved_is_not_time_waited() -> None:
    assert time_saved_fraction(8e-3, 2.5e-3) == 0.6875
    unfused_ms, fused_ms = (
        n * 2000 * 2000 * FLOAT32_BYTES / BYTES_PER_S * 1e3 for n in (elementwise_passes(7), 2)
    )
    assert unfused_ms / 8 == about(0.64)
    assert fused_ms / 2.5 == about(0.256)


# ----------------------------------------------------------------------- tiles and caches


def test_tile_for_256_kib() -> None:
    assert 256 * KIB // (3 * FLOAT32_BYTES) == 21_845
    assert tile_size(256 * KIB) == 147
    assert practical_tile_size(256 * KIB) == 128
    assert 3 * 128**2 * FLOAT32_BYTES == 192 * KIB


def test_three_tiles_of_64() -> None:
    assert 64**2 * FLOAT32_BYTES == 16 * KIB
    assert 3 * 64**2 * FLOAT32_BYTES == 48 * KIB
    assert tile_size(32 * KIB) == 52 < 64 <= tile_size(256 * KIB)


def test_three_tiles_of_256() -> None:
    assert 256**2 * FLOAT32_BYTES == 256 * KIB
    assert 3 * 256**2 * FLOAT32_BYTES == 768 * KIB
    assert tile_size(256 * KIB) < 256


def test_matrices_of_800_fit_8_mib() -> None:
    assert 3 * 800**2 * FLOAT32_BYTES < 8 * MIB < 3 * 1024**2 * FLOAT32_BYTES


def test_accesses_grow_as_a_cube() -> None:
    level = CacheLevel("L1", 32 * KIB, 8)
    seen = [simulate_matmul("ijk", (n, n, n), [level]).levels[0].accesses for n in (32, 64, 128)]
    assert [n**2 * (2 * n + 1) for n in (32, 64, 128)] == seen
    assert seen[2] / seen[1] < seen[1] / seen[0] + 0.1 < 8.1


# ------------------------------------------------------------------------------ rates


def test_rate_of_ten_milliseconds() -> None:
    assert gflops_per_s(2.15e9, 0.01) == about(215)
    assert gflops_per_s(2 * 1024**3, 0.01) == about(214.7, abs=0.1)
    assert (215 / 500, 215 / 1000) == (0.43, 0.215)


def test_five_milliseconds_for_a_small_product() -> None:
    flops = ops.get("matmul").flops(((128, 512), (512, 256)))
    assert flops == about(33.55e6, rel=1e-3)
    assert gflops_per_s(flops, 5e-3) == about(6.7, abs=0.05)
    assert flops / (215 * GB) * 1e3 == about(0.156, abs=0.001)


def test_ten_hours_ten_dollars_ninety_per_cent() -> None:
    assert time_saved_fraction(10, 1) == time_saved_fraction(1000, 100) == 0.9


# --------------------------------------------------------------------------------- the page


def test_the_page_names_every_check_here_and_no_other() -> None:
    checks = {name for name in globals() if name.startswith("test_") and "the_page" not in name}
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text(encoding="utf-8")))
    assert named == checks
