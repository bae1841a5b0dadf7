"""INT8 products: every dot exact to the last bit, whatever the codes; the machine code as meant."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from llvmlite import binding

from tinytorch.errors import InvalidValue
from tinytorch.native import level, threads
from tinytorch.native.aligned import address_of
from tinytorch.native.int8 import dots, product, routines
from tinytorch.native.int8.product import How
from tinytorch.native.int8.tile import FIRST_APART, PAIRS, PLAIN, SECOND_APART, WAYS, tile_ir

X86 = level._is_x86()
HERE = ["emulated", "portable", *(("maddubs", "int16") if X86 else ())]
if level.vnni_feature():
    HERE.insert(0, "vnni")
SIZES = [
    (1, 1, 1),
    (4, 16, 16),
    (3, 5, 7),
    (37, 41, 43),
    (9, 700, 33),
    (66, 64, 130),
    (130, 96, 40),
]


def drawn(shape, low=-128, high=127, seed=0):
    rng = np.random.default_rng([seed, *shape])
    return rng.integers(low, high, shape, np.int8, endpoint=True)


def sums(a, b, dot, zero=0, packed=None):
    """Return a @ b in int32; `a` holds what the dot can take, int8 codes plus an offset."""
    out = np.full((a.shape[0], b.shape[1]), 113, np.int32)
    offset = 128 if dot.top == 255 and dot.group == 4 else 0
    packed = packed or product.pack(b, dot)
    product.multiply(a, packed, out, How(1.0, float(offset + zero), offset))
    return out


def exact(a, b):
    return a.astype(np.int64) @ b.astype(np.int64)


# -------------------------------------------------------------------------------------- exactness


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("size", SIZES)
def test_sums_equal_those_of_int64(name, size):
    M, K, N = size
    dot = dots.dot_named(name)
    a, b = drawn((M, K), 0 if name == "maddubs" else -128), drawn((K, N), seed=1)
    assert np.array_equal(sums(a, b, dot), exact(a, b))
    assert np.array_equal(sums(a, b, dot, zero=7), exact(a.astype(np.int64) - 7, b))


@pytest.mark.parametrize("name", HERE)
def test_the_ends_of_the_range_do_not_saturate(name):
    dot = dots.dot_named(name)
    lowest = 0 if name == "maddubs" else -128
    for x in (lowest, 127):
        for y in (-128, 127):
            a, b = np.full((5, 1100), x, np.int8), np.full((1100, 17), y, np.int8)
            assert np.all(sums(a, b, dot) == 1100 * x * y), (x, y)
    # Signs that alternate by place in a group put the two ends of int16 into one sum.
    for period in (1, 2, 3, 4, 8):
        signs = np.where(np.arange(1024) // period % 2, 127, -128).astype(np.int8)
        b = np.stack([signs, -np.maximum(signs, -127), np.roll(signs, 1)] * 6, axis=1)
        a = np.where(np.arange(6 * 1024).reshape(6, 1024) // period % 2, 127, lowest)
        assert np.array_equal(sums(a.astype(np.int8), b, dot), exact(a, b)), period


def record(*lanes):
    """Return codes (16, 1) whose positive weights make such sums in the first and second half."""
    b = np.zeros((16, 1), np.int8)
    for half, total in enumerate(lanes):
        for i, k in enumerate((0, 1, 4, 5)):
            b[8 * half + k, 0] = total // 4 + (i < total % 4)
    return b


@pytest.mark.skipif(not X86, reason="maddubs is x86-64's")
@pytest.mark.parametrize(
    ("way", "lanes"),
    [
        (PLAIN, (129, 129)),
        (PAIRS, (130, 129)),
        (PAIRS, (258, 258)),
        (FIRST_APART, (259, 258)),
        (SECOND_APART, (258, 259)),
        (FIRST_APART | SECOND_APART, (508, 508)),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_each_way_of_summing_in_int16_is_taken_and_exact(way, lanes, sign):
    """At their very bounds: P <= 258 of 4 of a lane's weights, or of all 8, fits in int16."""
    dot = dots.dot_named("maddubs")
    b = np.tile(sign * record(*lanes), (3, 33))
    packed = product.pack(b, dot)
    assert way in WAYS and np.all(packed.ways == way)
    for a in (np.full((9, 48), 127, np.int8), np.zeros((9, 48), np.int8), drawn((9, 48), 0)):
        assert np.array_equal(sums(a, b, dot, packed=packed), exact(a, b))


@pytest.mark.skipif(not X86, reason="maddubs is x86-64's")
@pytest.mark.parametrize("wrong", [PLAIN, PAIRS, FIRST_APART, SECOND_APART])
def test_a_sum_that_is_not_proved_would_be_wrong(wrong):
    """The same weights summed in fewer parts: the proof is needed, and the tests can fail."""
    dot = dots.dot_named("maddubs")
    b = np.full((16, 16), 127, np.int8)
    packed = product.pack(b, dot)
    assert np.all(packed.ways == FIRST_APART | SECOND_APART)
    packed.ways[...] = wrong
    full = np.full((4, 16), 127, np.int8)
    assert not np.array_equal(sums(full, b, dot, packed=packed), exact(full, b))


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("shape", [(1, 1), (64, 10), (9, 33), (70, 64), (48, 40)])
def test_weights_are_held_without_padding(name, shape):
    K, N = shape
    dot = dots.dot_named(name)
    packed = product.pack(drawn(shape), dot, np.ones(N, np.float32))
    ways = -(-N // dot.columns) * dot.steps(K) if name == "maddubs" else 0
    assert packed.nbytes == dot.code_bytes * K * N + ways + (2 if K <= 255 else 4) * N + 4 * N


@pytest.mark.parametrize("name", HERE)
def test_any_layout_of_weights_and_output(name):
    dot = dots.dot_named(name)
    a, b = drawn((21, 50), 0), drawn((50, 37), seed=1)
    expected = exact(a, b)
    for weight in (np.asfortranarray(b), b[::-1][::-1], np.repeat(b, 2, axis=1)[:, ::2]):
        assert np.array_equal(sums(a, weight, dot), expected)
    packed, offset = product.pack(b, dot), 128 if dot.top == 255 and dot.group == 4 else 0
    out = np.zeros((74, 42), np.int32)[::-2, ::-1][:21, :37].T.copy().T
    product.multiply(a, packed, out, How(1.0, float(offset), offset))
    assert np.array_equal(out, expected)


@pytest.mark.skipif(threads.usable_cpus() < 2, reason="needs two CPUs")
@pytest.mark.parametrize("size", [(256, 128, 200), (3, 1000, 900)])
def test_the_number_of_threads_changes_nothing(size):
    M, K, N = size
    dot = dots.fastest()
    x = np.random.default_rng(0).standard_normal((M, K)).astype(np.float32)
    packed = product.pack(drawn((K, N)), dot, np.full(N, 0.01, np.float32))
    results = []
    for count in (1, 2):
        with threads.use_threads(count):
            out = np.empty((M, N), np.float32)
            product.multiply(x, packed, out, How(0.0, 0.0, dot.top))
            results.append(out)
    assert np.array_equal(*results)


# ---------------------------------------------------------------------------------- rows as codes


def codes_of(x, dot, scale=0.0, zero=0.0):
    """Return codes, scales and zeros as the product makes them."""
    import ctypes

    prepare, _, _ = routines.addresses(dot.name, dot.code_bytes, "float32", "float32")
    rows, K = x.shape
    padded = dot.padded(K)
    codes = np.full((rows, padded), 99, np.uint8 if dot.code_bytes == 1 else np.int16)
    scales, zeros = np.empty(rows, np.float32), np.empty(rows, np.int32)
    size, real = ctypes.c_int64, ctypes.c_double
    function = ctypes.CFUNCTYPE(None, *[size] * 5, real, real, *[size] * 4)(prepare)
    function(
        address_of(x), x.strides[0] // 4, rows, K, padded, scale, zero, dot.top,
        address_of(codes), address_of(scales), address_of(zeros),
    )  # fmt: skip
    return codes, scales, zeros


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("shift", [-3.0, 0.0, 5.0])
@pytest.mark.parametrize("magnitude", [1e-30, 1.0, 1e38])
def test_codes_are_within_half_a_step(name, shift, magnitude):
    dot = dots.dot_named(name)
    rng = np.random.default_rng(0)
    x = ((rng.standard_normal((13, 77)) + shift) / 10 * magnitude).astype(np.float32)
    codes, scales, zeros = codes_of(x, dot)
    assert np.all(codes[:, 77:] == 0)
    assert codes.max() <= dot.top and codes.min() >= 0
    span = np.maximum(x.max(1), 0) / dot.top - np.minimum(x.min(1), 0) / dot.top
    np.testing.assert_allclose(scales, span, rtol=1e-6)
    values = (codes[:, :77].astype(np.float64) - zeros[:, None]) * scales[:, None]
    # One step where both ends of the range are rounded out of it.
    assert np.all(np.abs(values - x) <= 1.001 * scales[:, None])
    assert np.mean(np.abs(values - x) <= 0.501 * scales[:, None]) > 0.97
    assert np.all(codes_of(np.maximum(x, 0), dot)[2] == 0)


@pytest.mark.parametrize("name", HERE)
def test_rows_without_a_range(name):
    dot = dots.dot_named(name)
    x = np.zeros((5, 9), np.float32)
    x[1, 3], x[2, 0], x[3, 8], x[4, 4] = np.nan, np.inf, -np.inf, -np.nan
    codes, scales, zeros = codes_of(x, dot)
    assert np.all(codes == 0) and np.all(zeros == 0)
    assert np.array_equal(np.isnan(scales), [False, True, True, True, True])
    assert scales[0] > 0
    tiny = np.full((1, 9), 1e-45, np.float32)
    assert np.isfinite(codes_of(tiny, dot)[1]).all()


@pytest.mark.parametrize("name", HERE)
def test_static_codes_saturate_and_nan_is_kept(name):
    dot = dots.dot_named(name)
    x = np.array([[-1e30, -1.0, 0.0, 1.0, 1e30, np.inf, -np.inf], [np.nan] + [0.0] * 6], np.float32)
    codes, scales, zeros = codes_of(x, dot, 0.5, 10.0)
    assert codes[0, :7].tolist() == [0, 8, 10, 12, dot.top, dot.top, 0]
    assert scales[0] == 0.5 and np.isnan(scales[1]) and zeros[0] == 10


# ------------------------------------------------------------------------------------ machine code


def assembly(dot, cpu, triple="x86_64-unknown-linux-gnu", features=""):
    """Return the tile's machine code for a CPU that need not be this one."""
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    module = binding.parse_assembly(tile_ir(dot))
    module.triple = triple
    machine = binding.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=3
    )
    builder = binding.create_pass_builder(machine, binding.create_pipeline_tuning_options(3))
    builder.getModulePassManager().run(module, builder)
    return machine.emit_assembly(module)


def tile_for(name, lanes, registers):
    here = dots.dot_named(name)
    rows = here.rows if name == "maddubs" else min(8, (registers - 4) // 2)
    return dataclasses.replace(here, lanes=lanes, rows=rows)


@pytest.mark.parametrize(
    ("cpu", "lanes", "registers", "wide"),
    [("znver4", 16, 32, "zmm"), ("icelake-server", 16, 32, "zmm"), ("alderlake", 8, 16, "ymm")],
)
def test_vnni_keeps_its_sums_in_registers(cpu, lanes, registers, wide):
    dot = tile_for("vnni", lanes, registers)
    asm = assembly(dot, cpu, features="-prefer-256-bit")
    used = re.findall(rf"vpdpbusd\s.*%({wide})\d+$", asm, re.MULTILINE)
    assert len(used) % (dot.rows * dot.vectors) == 0 and used
    assert len(used) == len(re.findall("vpdpbusd", asm))
    assert "(%rsp)" not in asm  # nothing spilled


@pytest.mark.parametrize(
    ("name", "cpu", "lanes", "registers", "mnemonic"),
    [
        ("maddubs", "znver3", 8, 16, "vpmaddubsw"),
        ("maddubs", "skylake-avx512", 16, 32, "vpmaddubsw"),
        ("int16", "znver3", 8, 16, "vpmaddwd"),
        ("int16", "skylake-avx512", 16, 32, "vpmaddwd"),
        ("int16", "x86-64-v2", 4, 16, "pmaddwd"),
    ],
)
def test_other_dots_keep_their_sums_in_registers(name, cpu, lanes, registers, mnemonic):
    asm = assembly(tile_for(name, lanes, registers), cpu, features="-prefer-256-bit")
    wide = {4: "xmm", 8: "ymm", 16: "zmm"}[lanes]
    assert len(re.findall(rf"\s{mnemonic}\s.*%{wide}\d+$", asm, re.MULTILINE)) >= 12
    spills = re.findall(rf"%{wide}\d+, -?\d*\(%rsp\)", asm)
    assert not spills


def test_maddubs_takes_its_weights_from_memory_as_operands():
    """Loads of their own would be instructions more, and instructions are what binds it."""
    dot = tile_for("maddubs", 8, 16)
    found = re.findall(r"vpmaddubsw\s(.*)", assembly(dot, "znver3"))
    # Five ways of summing a record's 4 groups, which may share their beginnings.
    assert 2 * 4 * dot.rows * dot.vectors < len(found) <= 5 * 4 * dot.rows * dot.vectors
    assert all("(%r" in operands for operands in found)


def test_the_portable_dot_is_vector_code_on_arm():
    dot = tile_for("portable", 4, 32)
    asm = assembly(dot, "generic", "aarch64-unknown-linux-gnu")
    found = re.findall(r"\s(?:mla|smlal2?)\s+v\d+\.4s", asm)
    assert len(found) >= 2 * dot.rows * dot.vectors


# --------------------------------------------------------------------------------------- the switch


@pytest.mark.parametrize("name", HERE)
def test_a_dot_can_be_forced(monkeypatch, name):
    monkeypatch.setenv("TINYTORCH_INT8", name)
    assert dots.fastest().name == name
    assert dots.fastest_full().name == ("int16" if name == "maddubs" else name)


def test_what_the_cpu_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(level, "vnni_feature", lambda: None)
    monkeypatch.setenv("TINYTORCH_INT8", "vnni")
    with pytest.raises(InvalidValue, match="TINYTORCH_INT8=vnni asks for an instruction"):
        dots.fastest()
    monkeypatch.setenv("TINYTORCH_INT8", "nothing")
    with pytest.raises(InvalidValue, match="must be vnni, emulated"):
        dots.fastest()
