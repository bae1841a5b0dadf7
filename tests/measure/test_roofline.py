from __future__ import annotations

import math

import pytest

from tinytorch import ops
from tinytorch.errors import InvalidValue
from tinytorch.measure import roofline
from tinytorch.measure.roofline import Placement, Roof

N = 1024
PRODUCT_FLOPS = 2 * N**3
PRODUCT_BYTES = 3 * N * N * 4


def test_intensity_of_a_product_of_1024() -> None:
    intensity = roofline.arithmetic_intensity(PRODUCT_FLOPS, PRODUCT_BYTES)
    assert PRODUCT_BYTES == 12 * 2**20
    assert intensity == pytest.approx(N / 6)
    assert round(intensity, 2) == 170.67
    assert round(intensity) == 171


def test_the_op_costs_what_the_formula_says() -> None:
    cost = ops.get("matmul").cost(((N, N), (N, N)), "float32")
    assert (cost.flops, cost.bytes_moved) == (PRODUCT_FLOPS, PRODUCT_BYTES)


def test_fused_gelu_makes_2_passes_where_unfused_makes_16() -> None:
    unfused, fused = roofline.elementwise_passes(7), roofline.elementwise_passes(0)
    assert (unfused, fused) == (16, 2)
    assert roofline.time_saved_fraction(unfused, fused) == 0.875


def test_215_gflops() -> None:
    rate = roofline.gflops_per_s(PRODUCT_FLOPS, 10e-3)
    assert rate == pytest.approx(214.7, abs=0.05)
    assert round(rate) == 215


def test_time_saved() -> None:
    assert roofline.time_saved_fraction(8.0, 2.5) == 0.6875
    assert roofline.time_saved_fraction(1.0, 2.0) == -1.0


@pytest.mark.parametrize(
    ("cache_bytes", "itemsize", "exact", "practical"),
    [
        (256 * 1024, 4, 147, 128),
        (32 * 1024, 4, 52, 32),
        (256 * 1024, 8, 104, 64),
        (3 * 64 * 64 * 4, 4, 64, 64),
        (3 * 64 * 64 * 4 - 1, 4, 63, 32),
        (1, 4, 1, 1),
    ],
)
def test_tile_size(cache_bytes: int, itemsize: int, exact: int, practical: int) -> None:
    assert roofline.tile_size(cache_bytes, itemsize) == exact
    assert roofline.practical_tile_size(cache_bytes, itemsize) == practical
    if cache_bytes > 1:
        assert 3 * exact**2 * itemsize <= cache_bytes < 3 * (exact + 1) ** 2 * itemsize


def test_ridge_point_divides_the_two_bounds() -> None:
    peak, bandwidth = 100e9, 20e9
    assert roofline.ridge_point(peak, bandwidth) == 5
    assert roofline.attainable_flops_per_s(4.0, peak, bandwidth) == 80e9
    assert roofline.attainable_flops_per_s(5.0, peak, bandwidth) == peak
    assert roofline.attainable_flops_per_s(6.0, peak, bandwidth) == peak
    roof = Roof(peak, bandwidth, "DRAM")
    assert roof.ridge == 5
    assert Placement(4, 1, 1, roof).bound == "memory"
    assert Placement(6, 1, 1, roof).bound == "compute"


def test_placement_under_each_bound() -> None:
    roof = Roof(100e9, 20e9, "DRAM")
    memory = Placement(flops=2e9, bytes_moved=1e9, seconds=0.1, roof=roof)
    assert memory.intensity == 2
    assert memory.flops_per_s == 20e9
    assert memory.bytes_per_s == 10e9
    assert memory.least_seconds == pytest.approx(0.05)  # 1e9 B at 20 GB/s
    assert memory.fraction == pytest.approx(0.5)
    compute = Placement(flops=20e9, bytes_moved=1e9, seconds=0.25, roof=roof)
    assert compute.least_seconds == pytest.approx(0.2)  # 20e9 FLOP at 100 GFLOP/s
    assert compute.fraction == pytest.approx(0.8)


def test_a_kernel_without_flops_is_placed_by_its_bytes() -> None:
    copy = Placement(flops=0, bytes_moved=1e9, seconds=0.1, roof=Roof(100e9, 20e9, "DRAM"))
    assert copy.bound == "memory"
    assert copy.fraction == pytest.approx(0.5)


@pytest.mark.parametrize("bad", [0, -1, math.inf, math.nan])
def test_what_can_not_be_is_refused(bad: float) -> None:
    with pytest.raises(InvalidValue, match="bytes_moved must be a positive number"):
        roofline.arithmetic_intensity(1, bad)
    with pytest.raises(InvalidValue, match="peak_flops_per_s"):
        roofline.ridge_point(bad, 1)
    with pytest.raises(InvalidValue, match="bytes_per_s"):
        roofline.attainable_flops_per_s(1, 1, bad)
    with pytest.raises(InvalidValue, match="seconds"):
        roofline.gflops_per_s(1, bad)
    with pytest.raises(InvalidValue, match="slow_seconds"):
        roofline.time_saved_fraction(bad, 1)


def test_negative_temporaries_are_refused() -> None:
    with pytest.raises(InvalidValue, match="-1"):
        roofline.elementwise_passes(-1)
