from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tinytorch.errors import InvalidValue, ShapeError, UnknownName, UnsupportedInput
from tinytorch.kernels.gemm import cache_bytes, gemm
from tinytorch.native import level, pointers, simd, threads
from tinytorch.native.codecache import assembly, jit
from tinytorch.native.gemm import microkernel, product
from tinytorch.native.gemm.plan import Blocks, CacheBytes, Layout, blocks_for, grid_for
from tinytorch.ops import gelu
from tinytorch.ops.spec import LAYOUTS, laid_out, wide

DTYPES = ("float32", "float64")
# Small enough that a product of a few hundred takes several blocks in each direction.
TINY_CACHES = CacheBytes(second=32 << 10, last=64 << 10)
READY = Layout(True, False)


def drawn(shape, dtype, seed=0):
    return wide(np.random.default_rng([seed, *shape]), shape, np.dtype(dtype))


def share_of_bound(c, a, b, extra=0.0):
    """Return the largest error as a share of 2 sqrt(K) eps |A||B| + what `extra` allows."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    eps = np.finfo(c.dtype).eps
    bound = eps * (2 * np.sqrt(max(1, a.shape[-1])) * (abs(a) @ abs(b)) + extra)
    error = abs(c.astype(np.longdouble) - a.astype(np.longdouble) @ b.astype(np.longdouble))
    return float(np.max(error / (bound + np.finfo(c.dtype).tiny), initial=0.0))


def edges(dtype):
    tile = microkernel.tile_shape(dtype)
    return tile.rows, tile.columns


# ------------------------------------------------------------------------------- plain products


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layouts", list(itertools.product(LAYOUTS, repeat=2)), ids="-".join)
@pytest.mark.parametrize("size", [(5, 3, 7), (31, 40, 66), (61, 300, 70), (150, 70, 41)])
def test_every_layout_of_both_operands(dtype, layouts, size):
    M, K, N = size
    a, b = drawn((M, K), dtype), drawn((K, N), dtype, 1)
    c = gemm(laid_out(a, layouts[0]), laid_out(b, layouts[1]))
    assert share_of_bound(c, a, b) < 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [(5, 3, 7), (61, 300, 70)])
def test_every_layout_of_the_output(dtype, layout, size):
    M, K, N = size
    a, b = drawn((M, K), dtype), drawn((K, N), dtype, 1)
    out = laid_out(np.full((M, N), np.nan, dtype), layout)
    assert gemm(a, b, out) is out
    assert share_of_bound(out, a, b) < 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("packed", [False, True])
def test_every_ragged_edge(dtype, packed):
    """All remainders of M by MR and N by NR, and depths around a vector, in place and packed."""
    high, wide_ = edges(dtype)
    lanes = microkernel.tile_shape(dtype).lanes
    depths = (1, lanes - 1, lanes, 2 * lanes + 1)
    for i, (m, n) in enumerate(itertools.product(range(1, high + 2), range(1, wide_ + 2))):
        M, N, K = m + high * (i % 2), n + wide_ * (i % 3 == 0), depths[i % len(depths)]
        a, b = drawn((M, K), dtype), drawn((K, N), dtype, 1)
        around = np.full((M + 2, N + 2), 7, dtype)
        out = around[1:-1, 1:-1]
        if packed:
            product.multiply(a.T.copy().T, b.T.copy().T, out, TINY_CACHES)
        else:
            assert product.SMALL[out.dtype.char](a, b, out) == product.DONE
        assert share_of_bound(out, a, b) < 1, (M, N, K)
        frame = np.concatenate([around[0], around[-1], around[:, 0], around[:, -1]])
        assert np.all(frame == 7), (M, N, K)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(200, 333, 210), (70, 1000, 65), (333, 129, 400)])
def test_many_blocks(dtype, size):
    M, K, N = size
    blocks = blocks_for((M, N, K), dtype, TINY_CACHES, READY, READY)
    assert blocks.depth < K
    a, b = drawn((M, K), dtype), drawn((K, N), dtype, 1)
    out = np.empty((M, N), dtype)
    product.multiply(a, b, out, TINY_CACHES)
    assert share_of_bound(out, a, b) < 1


@pytest.mark.parametrize("shapes", [((0, 4), (4, 5)), ((3, 4), (4, 0)), ((0, 3, 4), (4, 5))])
def test_an_empty_output_is_left_alone(shapes):
    a, b = (np.ones(shape, np.float32) for shape in shapes)
    assert gemm(a, b).shape == np.matmul(a, b).shape


def test_no_depth_is_a_sum_of_nothing():
    a, b = np.ones((3, 0), np.float32), np.ones((0, 40), np.float32)
    assert np.array_equal(gemm(a, b), np.zeros((3, 40)))
    out = np.full((3, 40), 2, np.float32)
    gemm(a, b, out, beta=0.5, bias=np.arange(40, dtype=np.float32))
    assert np.array_equal(out, np.broadcast_to(np.arange(40) + 1, (3, 40)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(20, 20, 40), (100, 300, 100)])
def test_nan_and_infinity_go_where_numpys_go(dtype, size):
    M, K, N = size
    a, b = drawn((M, K), dtype), drawn((K, N), dtype, 1)
    a[1, 2], a[3, 4], b[5, 6], b[0, 7] = np.nan, np.inf, -np.inf, np.nan
    with np.errstate(invalid="ignore"):
        expected = a.astype(np.float64) @ b.astype(np.float64)
    c = gemm(a, b)
    odd = ~np.isfinite(expected)
    assert np.array_equal(c[odd], expected[odd], equal_nan=True)
    assert np.isfinite(c[~odd]).all()


def test_an_output_full_of_nan_is_not_read():
    a, b = drawn((40, 300), "float32"), drawn((300, 50), "float32")
    out = np.full((40, 50), np.nan, np.float32)
    assert np.isfinite(gemm(a, b, out)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shapes",
    [
        ((6, 9, 11), (6, 11, 8)),
        ((2, 1, 5, 6), (3, 6, 4)),
        ((7, 40, 50), (50, 60)),
        ((40, 50), (3, 50, 60)),
        ((2, 3, 33, 20), (2, 3, 20, 35)),
    ],
)
def test_batches(dtype, shapes):
    a, b = (drawn(shape, dtype, i) for i, shape in enumerate(shapes))
    for layout in LAYOUTS:
        c = gemm(laid_out(a, layout), laid_out(b, layout))
        assert c.shape == np.matmul(a, b).shape
        assert share_of_bound(c, a, b) < 1
    out = laid_out(np.empty(c.shape, dtype), "strided")
    assert np.array_equal(gemm(a, b, out), gemm(a, b))


def test_readonly_operands_are_taken_without_another_compilation():
    a, b = drawn((20, 20), "float32"), drawn((20, 20), "float32", 1)
    expected = gemm(a, b)
    a.flags.writeable = b.flags.writeable = False
    assert np.array_equal(gemm(a, b), expected)
    assert np.array_equal(gemm(np.broadcast_to(a, (2, 20, 20)), b)[1], expected)


# ---------------------------------------------------------------------- alpha, beta and epilogues


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scales", [(1.0, 1.0), (-0.5, 0.25), (2.0, 0.0), (0.0, 3.0)])
def test_alpha_and_beta(dtype, layout, scales):
    alpha, beta = scales
    a, b, old = drawn((37, 300), dtype), drawn((300, 45), dtype, 1), drawn((37, 45), dtype, 2)
    out = laid_out(old, layout).copy(order="K") if layout == "C" else laid_out(old, layout)
    gemm(a, b, out, alpha=alpha, beta=beta)
    exact = alpha * (a.astype(np.longdouble) @ b) + beta * old.astype(np.longdouble)
    bound = 2 * np.sqrt(300) * abs(alpha) * (abs(a) @ abs(b)) + 2 * abs(beta * old)
    assert np.all(abs(out - exact) <= np.finfo(dtype).eps * bound)


def epilogue_reference(a, b, bias, residual, activation):
    z = a.astype(np.float64) @ b.astype(np.float64)
    z = z if bias is None else z + bias
    if activation == "relu":
        z = np.maximum(z, 0)
    elif activation == "gelu":
        z = gelu.OP.reference(z)
    return z if residual is None else z + residual


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", [None, "relu", "gelu"])
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("has_residual", [False, True])
@pytest.mark.parametrize("size", [(33, 20, 70), (61, 700, 40), (2, 30, 40, 35)])
def test_epilogues(dtype, activation, has_bias, has_residual, size):
    *batch, M, K, N = size
    a, b = drawn((*batch, M, K), dtype) / 8, drawn((K, N), dtype, 1) / 8
    bias = drawn((N,), dtype, 2) if has_bias else None
    residual = drawn((*batch, M, N), dtype, 3) if has_residual else None
    exact = epilogue_reference(a, b, bias, residual, activation)
    sums = abs(a) @ abs(b) + (abs(bias) if has_bias else 0)
    bound = (1.13 * 2 * np.sqrt(K) + 6) * sums + (abs(residual) if has_residual else 0)
    for layout in LAYOUTS:
        out = laid_out(np.full(exact.shape, np.nan, dtype), layout)
        other = None if residual is None else laid_out(residual, layout)
        gemm(a, b, out, bias=bias, residual=other, activation=activation)
        assert np.all(abs(out - exact) <= np.finfo(dtype).eps * bound), layout


def test_an_epilogue_is_done_once_however_deep_the_product():
    """A bias added in each block of the depth, or a relu before the last, would show."""
    depth = 4 * blocks_for((40, 40, 4000), "float32", cache_bytes(), READY, READY).depth
    a, b = np.ones((40, depth), np.float32), np.ones((depth, 40), np.float32)
    a[:, : depth // 2] = -1
    bias = np.full(40, 3, np.float32)
    assert np.all(gemm(a, b, bias=bias, activation="relu") == 3)


def test_nan_passes_relu():
    a, b = np.full((3, 2), np.nan, np.float32), np.ones((2, 33), np.float32)
    assert np.isnan(gemm(a, b, activation="relu")).all()


@pytest.mark.parametrize("which", ["a", "b", "residual"])
@pytest.mark.parametrize("n", [24, 150])
def test_the_output_may_be_an_operand(which, n):
    a, b, residual = (drawn((n, n), "float32", i) for i in range(3))
    expected = gemm(a, b, residual=residual)
    out = {"a": a, "b": b, "residual": residual}[which]
    assert gemm(a, b, out, residual=residual) is out
    assert np.array_equal(out, expected)


# ------------------------------------------------------------------------------- what is refused


def test_what_does_not_fit_is_refused():
    a, b = np.ones((3, 4), np.float32), np.ones((4, 5), np.float32)
    with pytest.raises(ShapeError, match="inner dimensions"):
        gemm(a, a)
    with pytest.raises(ShapeError, match="bias"):
        gemm(a, b, bias=np.ones(4, np.float32))
    with pytest.raises(ShapeError, match="residual"):
        gemm(a, b, residual=np.ones((5, 3), np.float32))
    with pytest.raises(ShapeError, match="out"):
        gemm(a, b, np.empty((5, 3), np.float32))
    with pytest.raises(InvalidValue, match="float32"):
        gemm(a, b, np.empty((3, 5)))
    with pytest.raises(InvalidValue, match="beta"):
        gemm(a, b, beta=1)
    with pytest.raises(UnknownName, match="relu"):
        gemm(a, b, activation="rellu")
    for wrong in (b.astype(np.float64), b.astype(np.int32), b.astype(">f4")):
        with pytest.raises(UnsupportedInput, match="one dtype"):
            gemm(a, wrong)


def test_a_small_product_refuses_what_it_cannot_judge():
    a, b = np.ones((3, 4), np.float32), np.ones((4, 5), np.float32)
    out = np.zeros((3, 5), np.float32)
    frozen = out.copy()
    frozen.flags.writeable = False
    for x, y, z in (
        (a, a, out),
        (a, b, out.T),
        (a, b, out.astype(np.float64)),
        (a, b.astype(np.float64), out),
        (a.astype(np.int32), b, out),
        (a, b, frozen),
        (out[:, :4], b, out),
    ):
        try:
            assert product.SMALL[x.dtype.char](x, y, z) != product.DONE
        except KeyError:
            assert x.dtype == np.int32
    assert not out.any()


# ----------------------------------------------------------------------- threads, plans and code


@pytest.mark.parametrize("size", [(300, 260, 310), (1000, 64, 40), (30, 500, 900)])
def test_the_number_of_threads_changes_no_bit(size):
    M, K, N = size
    a, b = drawn((M, K), "float32"), drawn((K, N), "float32", 1)
    bias = drawn((N,), "float32", 2)
    with threads.use_threads(1):
        one = gemm(a, b, bias=bias, activation="gelu")
    assert np.array_equal(gemm(a, b, bias=bias, activation="gelu"), one)


def test_shares_of_many_threads_cover_the_output_once(monkeypatch):
    """More shares than this machine has threads are still one share each, whole tiles apart."""
    a, b = drawn((130, 90), "float32"), drawn((90, 170), "float32", 1)
    expected = gemm(a, b)
    for shares in (3, 4, 6, 13):
        monkeypatch.setattr(threads, "get_num_threads", lambda shares=shares: shares)
        out = np.full(expected.shape, np.nan, np.float32)
        gemm(a, b, out)
        assert np.array_equal(out, expected), shares


@pytest.mark.parametrize(
    ("sizes", "shares", "grid"),
    [
        ((4096, 64, 64), 4, (4, 1)),
        ((16, 4096, 64), 4, (1, 4)),
        ((1024, 1024, 64), 4, (2, 2)),
        ((1024, 1024, 64), 3, (3, 1)),
    ],
)
def test_the_grid_follows_the_shape(sizes, shares, grid):
    tile = microkernel.Tile(14, 32, 16)
    found = grid_for(sizes, shares, tile)
    assert found == grid or (sizes[0] == sizes[1] and found == grid[::-1])


def test_blocks_are_whole_tiles_and_fit_their_caches():
    caches = CacheBytes(1 << 20, 4 << 20)
    tile = microkernel.tile_shape("float32")
    for n in (100, 512, 1000, 4096):
        blocks = blocks_for((n, n, n), "float32", caches, READY, READY)
        assert blocks.rows % tile.rows == 0
        assert blocks.columns % tile.columns == 0
        assert blocks.rows * blocks.depth * 4 <= caches.second
        assert blocks.columns * blocks.depth * 4 <= caches.last
    assert isinstance(blocks, Blocks)


def test_small_products_are_not_packed():
    blocks = blocks_for((32, 32, 32), "float32", CacheBytes(), READY, READY)
    assert not blocks.packs_a
    assert not blocks.packs_b


@jit
def _one_tile(a, b, c):
    one, zero = simd.like(c[0], 1.0), simd.like(c[0], 0.0)
    place = pointers.data(c)
    # Rows and strides that LLVM can't know: with others, it would write the one tile for those.
    microkernel.multiply_tile(
        c.size,
        2,
        pointers.data(a),
        b.size,
        c.size,
        pointers.data(b),
        32,
        a.size,
        place,
        32,
        one,
        zero,
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_sums_stay_in_registers(dtype):
    """The k loop of the largest tile: one multiply-add a sum and step, no load or store of one."""
    x = np.zeros(4, dtype)
    tile = microkernel.tile_shape(dtype)
    name = f"tinytorch.tile.f{8 * np.dtype(dtype).itemsize}.{tile.rows}x{tile.columns}"
    code = assembly(_one_tile, x, x, x)
    body = code[code.index(f"\n{name}:") :]
    body = body[: body.index(".size")]
    loops = [part for part in body.split("\n.LBB") if "vfmadd" in part and "rsp" not in part]
    if level.isa() == "v128":
        pytest.skip("the level 'v128' has no vfmadd to count")
    register = {"avx512": "zmm", "avx2": "ymm"}[level.isa()]
    inner = max(loops, key=lambda part: part.count("vfmadd"))
    steps = microkernel.UNROLL
    assert inner.count("vfmadd") == 2 * tile.rows * steps
    uses = level.register_uses(inner)
    assert uses[register] == 2 * tile.rows * steps
    assert uses["scalar"] == 0
    moves = [line for line in inner.splitlines() if "vmovup" in line or "vmovap" in line]
    assert len([m for m in moves if "(" in m]) <= 2 * steps, moves


FORCED = """
import dataclasses, json
import numpy as np
from tinytorch.kernels import conformance, registry
from tinytorch.native import level
from tinytorch.native.gemm import microkernel
from tinytorch.kernels.gemm import gemm
worst, ran = 0.0, 0
for op, name in (("matmul", "packed"), ("linear", "fused")):
    rung = dataclasses.replace(registry.get(op, name), dtypes=("float32",))
    for case in conformance.run(rung):
        assert case.check.ok, str(case)
        worst, ran = max(worst, case.check.worst), ran + 1
rng = np.random.default_rng(0)
for M, K, N in ((200, 300, 210), (61, 700, 77)):
    a, b = rng.standard_normal((M, K)).astype("f"), rng.standard_normal((K, N)).astype("f")
    for x in (a, np.asfortranarray(a)):
        for y in (b, np.asfortranarray(b)):
            error = abs(gemm(x, y) - x.astype("d") @ y) / (abs(x) @ abs(y))
            assert error.max() < 2 * K**0.5 * 1.2e-7
tile = microkernel.tile_shape("float32")
print(json.dumps([level.isa(), tile.rows, tile.columns, worst, ran]))
"""


@pytest.mark.parametrize(
    ("isa", "tile"), [("avx512", [12, 32]), ("avx2", [6, 16]), ("v128", [6, 8])]
)
def test_each_vector_level_is_right(isa, tile):
    if level.vector_bytes() < level._VECTOR_BYTES[isa]:
        pytest.skip(f"this CPU has no {isa}")
    environment = {**os.environ, "TINYTORCH_ISA": isa}
    done = subprocess.run(
        [sys.executable, "-c", FORCED], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    seen, rows, columns, worst, ran = json.loads(done.stdout)
    assert seen == isa
    assert [rows, columns] == tile or level.platform.machine() not in ("x86_64", "AMD64")
    assert worst < 1
    assert ran > 300


SECOND = """
import numpy as np
from tinytorch.kernels.gemm import gemm
from tinytorch.native.gemm import entries, product, routines, small
a = np.ones((200, 200), np.float32)
assert product.SMALL["f"](a[:8, :8], a[:8, :8], np.empty((8, 8), np.float32))
gemm(a, a)
assert small.compiled("float32").cache_hits == 1
assert sum(entries.shared("float32").stats.cache_hits.values()) == 1
assert all(f.cache_hits == 1 for f in routines._compiled("float32"))
"""


def test_a_second_process_compiles_nothing():
    gemm(np.ones((200, 200), np.float32), np.ones((200, 200), np.float32))
    product.SMALL["f"](*(np.ones((8, 8), np.float32) for _ in range(3)))
    subprocess.run([sys.executable, "-c", SECOND], check=True)
