from __future__ import annotations

import numpy as np
import pytest

from tinytorch.errors import InvalidValue
from tinytorch.native import codecache, level, simd
from tinytorch.native.aligned import aligned_empty
from tinytorch.native.codecache import assembly, jit

DTYPES = (np.float32, np.float64)
INTEGERS = {np.float32: np.int32, np.float64: np.int64}
CHOSEN = simd.constant(0.1, 0.2)
CHOSEN_INTEGER = simd.constant(23, 52)
CUBIC = simd.polynomial((1.0, 2.0, 3.0, 4.0), (1.0, -2.0, 3.0, -4.0))
LONG = simd.polynomial(tuple(range(1, 15)), tuple(range(1, 16)))


@jit
def bits_of(x, out):
    for i in range(x.size):
        out[i] = simd.bits(x[i])


@jit
def floats_of(i, out):
    for k in range(i.size):
        out[k] = simd.from_bits(i[k])


@jit
def integer_results(i, k, out):
    out[0] = simd.integer_add(i, k)
    out[1] = simd.integer_subtract(i, k)
    out[2] = simd.integer_and(i, k)
    out[3] = simd.integer_or(i, k)
    out[4] = simd.shift_left(i, 3)
    out[5] = simd.shift_right(i, 3)


@jit
def float_results(x, y, z, out):
    out[0] = simd.fma(x, y, z)
    out[1] = simd.copysign(x, y)
    out[2] = simd.select(x < y, x, z)
    out[3] = CHOSEN(x)
    out[4] = CUBIC(x)
    out[5] = LONG(x)
    out[6] = simd.like(x, 0.1)


@jit
def rounded(x, out):
    for i in range(x.size):
        out[i] = simd.rint(x[i])


@jit
def typed_integers(x):
    return CHOSEN_INTEGER(x), CHOSEN_INTEGER(simd.bits(x))


@jit
def times_constant(x, out):
    for i in range(x.size):
        out[i] = x[i] * simd.like(x[i], 0.1) + CHOSEN(x[i])


@jit
def recurrence(x, out):
    total = x[0]
    for i in range(1, x.size):
        total = total / x[i] + x[i]
    out[0] = total


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_are_numpys_view_and_back(dtype):
    info = np.finfo(dtype)
    x = np.array([0.0, -0.0, 1.0, -1.5, info.max, info.tiny / 4, np.inf, np.nan], dtype)
    integers = np.empty(x.size, INTEGERS[dtype])
    bits_of(x, integers)
    np.testing.assert_array_equal(integers, x.view(integers.dtype))
    back = np.empty_like(x)
    floats_of(integers, back)
    np.testing.assert_array_equal(back.view(integers.dtype), integers)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integer_operators_wrap_and_keep_their_width(dtype):
    info = np.iinfo(dtype)
    i, k = dtype(info.max - 5), dtype(12)
    out = np.empty(6, dtype)
    integer_results(i, k, out)
    a, b = np.array([i]), np.array([k])
    unsigned = a.view(f"u{a.itemsize}")
    expected = [a + b, a - b, a & b, a | b, a << 3, unsigned >> 3]
    np.testing.assert_array_equal(out, np.concatenate([e.view(dtype) for e in expected]))
    integer_results(dtype(-1), k, out)
    assert out[5] == info.max >> 2  # zeros come in, not the sign


@pytest.mark.parametrize("dtype", DTYPES)
def test_float_intrinsics(dtype):
    x, y = dtype(1) + np.finfo(dtype).eps, -(dtype(1) - np.finfo(dtype).eps)
    z = -(x * y)
    out = np.empty(7, dtype)
    float_results(x, y, z, out)
    assert z != 0
    # x*y = -(1 - eps^2), which rounds to -1: only one rounding shows the eps^2.
    assert out[0] == np.finfo(dtype).eps ** 2
    assert out[1] == -x
    assert out[2] == z
    single = dtype is np.float32
    assert out[3] == dtype(0.1 if single else 0.2)
    assert out[4] == pytest.approx(10 if single else -2, rel=1e-5)
    assert out[5] == pytest.approx(105 if single else 120, rel=1e-5)
    assert out[6] == dtype(0.1)


@pytest.mark.parametrize("count", [1, 2, 12, 13, 14, 25])
def test_a_polynomial_of_any_length_is_evaluated_whole(count):
    rng = np.random.default_rng(count)
    coefficients = tuple(rng.uniform(1, 2, count).tolist())
    power_sum = simd.polynomial((), coefficients)

    # NOTE: not `jit`, whose disk cache would keep a new copy of this closure from every run.
    @codecache.numba().njit
    def at(x):
        return power_sum(x)

    assert at(0.75) == pytest.approx(np.polyval(coefficients[::-1], 0.75), rel=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rint_rounds_ties_to_even(dtype):
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 2.4999, -0.0, np.inf, np.nan], dtype)
    out = np.empty_like(x)
    rounded(x, out)
    np.testing.assert_array_equal(out, np.rint(x))
    np.testing.assert_array_equal(np.signbit(out), np.signbit(np.rint(x)))


def test_constants_follow_the_width_of_a_float_and_of_its_bits():
    assert typed_integers(np.float32(1)) == (23, 23)
    assert typed_integers(np.float64(1)) == (52, 52)


def test_a_wrong_type_is_refused_when_compiling():
    from numba.core.errors import TypingError

    with pytest.raises(TypingError):
        bits_of(np.zeros(2, np.int64), np.zeros(2, np.int64))


@pytest.mark.parametrize("dtype", DTYPES)
def test_constants_do_not_widen_a_loop(dtype):
    x = np.zeros(8, dtype)
    uses = level.register_uses(assembly(times_constant, x, x))
    if not any(count for kind, count in uses.items() if kind != "scalar"):
        pytest.skip("this CPU has no vector instructions for this dtype")
    code = assembly(times_constant, x, x)
    assert dtype is np.float64 or "cvtps2pd" not in code


def test_what_cannot_be_a_vector_loop_counts_as_scalar():
    x = np.ones(8, np.float32)
    uses = level.register_uses(assembly(recurrence, x, x))
    assert uses.pop("scalar") >= 2
    assert not any(uses.values()), uses


X86 = """
    vmulps      (%rcx,%r9,4), %zmm0, %zmm13
    vfmadd213ps (%r10){1to16}, %zmm26, %zmm28
    vmulpd      %zmm1, %zmm22, %zmm23 {%k1}
    vsqrtpd     %ymm1, %ymm2
    addps       %xmm1, %xmm2
    vdivss      %xmm1, %xmm2, %xmm3
    vfnmadd231sd %xmm1, %xmm2, %xmm3
    vmovups     %zmm13, (%rax,%r9,4)
    vpaddd      %zmm1, %zmm2, %zmm3
    vcvtps2pd   %ymm1, %zmm2
    callq       *%rax
"""
ARM = """
    fmla  v0.4s, v1.4s, v2.4s
    fmul  v3.2d, v1.2d, v2.2d
    fadd.4s v0, v1, v2
    fmla  z0.s, p0/m, z1.s, z2.s
    fmadd s0, s1, s2, s3
    fdiv  d0, d1, d2
    ldr   q0, [x0]
    add   v0.4s, v1.4s, v2.4s
"""


def test_register_uses_counts_packed_arithmetic_by_register():
    none = {"zmm": 0, "ymm": 0, "xmm": 0, "neon": 0, "sve": 0, "scalar": 0}
    assert level.register_uses("") == none
    assert level.register_uses(X86) == {**none, "zmm": 3, "ymm": 1, "xmm": 1, "scalar": 2}
    assert level.register_uses(ARM) == {**none, "neon": 3, "sve": 1, "scalar": 2}


@pytest.mark.parametrize(
    ("isa", "vector_bytes", "float32_lanes"), [("avx512", 64, 16), ("avx2", 32, 8), ("v128", 16, 4)]
)
def test_the_level_decides_the_width(monkeypatch, isa, vector_bytes, float32_lanes):
    monkeypatch.setattr(level, "_host_isa", lambda: "avx512")
    monkeypatch.setenv("TINYTORCH_ISA", isa)
    assert level.isa() == isa
    assert level.vector_bytes() == vector_bytes
    assert level.lanes(np.float32) == float32_lanes
    assert level.lanes("float64") == float32_lanes // 2
    assert level.lanes(np.int8) == vector_bytes


def test_without_a_wish_the_level_is_the_hosts(monkeypatch):
    monkeypatch.delenv("TINYTORCH_ISA", raising=False)
    assert level.isa() == level._host_isa()


@pytest.mark.parametrize(
    ("features", "isa"),
    [
        ({"avx2": True, "fma": True, "avx512f": True}, "avx2"),
        ({"avx2": True}, "v128"),
        ({"neon": True}, "v128"),
        (
            dict.fromkeys(("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"), True),
            "avx512",
        ),
    ],
)
def test_the_host_level_needs_every_feature(monkeypatch, features, isa):
    monkeypatch.setattr(level.binding, "get_host_cpu_features", lambda: features)
    assert level._host_isa.__wrapped__() == isa


def test_more_than_the_cpu_has_is_refused(monkeypatch):
    monkeypatch.setattr(level, "_host_isa", lambda: "avx2")
    monkeypatch.setenv("TINYTORCH_ISA", "avx512")
    with pytest.raises(InvalidValue, match="more than this CPU has"):
        level.isa()


@pytest.mark.parametrize(
    ("isa", "machine", "count"),
    [
        ("avx512", "x86_64", 32),
        ("avx2", "AMD64", 16),
        ("v128", "x86_64", 16),
        ("v128", "arm64", 32),
    ],
)
def test_register_count(monkeypatch, isa, machine, count):
    monkeypatch.setattr(level, "_host_isa", lambda: "avx512")
    monkeypatch.setenv("TINYTORCH_ISA", isa)
    monkeypatch.setattr(level.platform, "machine", lambda: machine)
    assert level.register_count() == count


@pytest.mark.parametrize("alignment", [1, 16, 64, 4096])
@pytest.mark.parametrize("shape", [7, (3, 5), (2, 0, 4), ()])
def test_aligned_empty(shape, alignment):
    for dtype in (np.float32, np.float64, np.int8):
        array = aligned_empty(shape, dtype, alignment)
        assert array.size == 0 or array.ctypes.data % alignment == 0
        assert array.shape == np.empty(shape).shape
        assert array.dtype == dtype
        assert array.flags.c_contiguous
        assert array.flags.writeable


@pytest.mark.parametrize("alignment", [0, -64, 48])
def test_alignment_must_be_a_power_of_two(alignment):
    with pytest.raises(InvalidValue, match="power of two"):
        aligned_empty(8, alignment=alignment)
