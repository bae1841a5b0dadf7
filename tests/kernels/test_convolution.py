"""Convolutions beyond the conformance run: many blocks, threads, edges of memory, wrong calls."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tinytorch import ops
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.kernels import convolution, registry
from tinytorch.native.gemm.plan import CacheBytes
from tinytorch.ops.verify import run_checked

FORWARD, INPUTS, WEIGHTS = "conv2d", "conv2d_input_gradient", "conv2d_weight_gradient"
ALL = (FORWARD, INPUTS, WEIGHTS)

# (N, C, H, W), outputs, kernel, stride, padding
LAYERS = [
    ((3, 40, 13, 11), 30, (3, 3), (1, 1), (1, 1)),
    ((2, 70, 9, 8), 20, (3, 3), (2, 2), (1, 1)),
    ((2, 3, 31, 30), 16, (7, 7), (2, 2), (3, 3)),
    ((4, 90, 7, 7), 50, (1, 1), (1, 1), (0, 0)),
    ((3, 20, 15, 15), 33, (1, 1), (2, 2), (0, 0)),
    ((70, 1, 12, 12), 6, (5, 5), (1, 1), (0, 0)),
    ((1, 9, 6, 50), 8, (2, 3), (1, 3), (1, 0)),
    ((9, 33, 2, 2), 40, (3, 3), (1, 1), (1, 1)),
    ((5, 6, 12, 12), 16, (5, 5), (1, 1), (0, 0)),
    ((3, 7, 7, 7), 15, (3, 3), (1, 1), (0, 0)),
    ((2, 4, 18, 20), 14, (3, 3), (1, 1), (0, 0)),
]


def case(op, layer, dtype="float32", seed=0):
    """Return an op's inputs and params for a layer, with the sizes that a stride leaves open."""
    x_shape, outputs, kernel, stride, padding = layer
    shapes = x_shape, (outputs, x_shape[1], *kernel), (outputs,)
    how = {"stride": stride, "padding": padding}
    x, w, b = ops.get(FORWARD).inputs(shapes, dtype, seed=seed)
    if op == FORWARD:
        return (x, w, b), how
    dy = np.asarray(
        ops.get(FORWARD).draw(
            np.random.default_rng(seed), ops.get(FORWARD).output_shape(shapes, **how), x.dtype
        )
    )
    if op == INPUTS:
        return (dy, w), {**how, "input_size": x_shape[2:]}
    return (x, dy), {**how, "kernel_size": kernel}


def packed(op):
    return registry.get(op, "packed").function


@pytest.fixture
def tiny_caches(monkeypatch):
    """Caches so small that every layer here takes several blocks in each direction."""
    convolution._planned.cache_clear()
    monkeypatch.setattr(convolution, "cache_bytes", lambda: CacheBytes(16 << 10, 32 << 10))
    yield
    convolution._planned.cache_clear()


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: "x".join(map(str, layer[0])))
@pytest.mark.parametrize("op", ALL)
def test_layers_with_the_sizes_that_a_stride_leaves_open(op, layer):
    arrays, how = case(op, layer)
    run_checked(ops.get(op), packed(op), arrays, how).require(op)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: "x".join(map(str, layer[0])))
@pytest.mark.parametrize("op", ALL)
def test_many_blocks(op, layer, tiny_caches):
    for dtype in ("float32", "float64"):
        arrays, how = case(op, layer, dtype)
        run_checked(ops.get(op), packed(op), arrays, how).require(op)


@pytest.mark.parametrize("op", ALL)
def test_results_do_not_depend_on_the_number_of_threads(op, monkeypatch):
    for layer in LAYERS:
        arrays, how = case(op, layer)
        results = []
        for count in (1, 2, 3, 7):
            monkeypatch.setattr(convolution, "get_num_threads", lambda count=count: count)
            results.append(packed(op)(*arrays, **how))
        assert all(np.array_equal(results[0], other) for other in results[1:]), layer


@pytest.mark.parametrize("op", ALL)
def test_blocks_are_many_under_tiny_caches(op, tiny_caches):
    """The test above would prove nothing if everything fitted one block after all."""
    arrays, how = case(op, LAYERS[0])
    shapes = tuple(array.shape for array in arrays)
    if op == FORWARD:
        how["activation"] = "none"
    _, task = convolution._planned(op, shapes, tuple(how.items()), "f", True, 2)
    from tinytorch.native.conv import fields

    numbers = dict(zip(fields.FIELDS, task.numbers[0].tolist(), strict=True))
    pixels = numbers["PIXEL_ROWS"] * numbers["PIXEL_COLUMNS"]
    assert numbers["GROUP"] < numbers["BATCH"]
    assert numbers["PANELS"] * 16 < pixels or numbers["DEPTH"] < pixels


@pytest.mark.parametrize(
    "layer",
    [((1, 5, 6, 7), 5, (1, 1), (1, 1), (0, 0)), ((1, 5, 6, 7), 15, (3, 3), (1, 1), (0, 0))],
    ids=("one pixel", "patches"),
)
@pytest.mark.parametrize("op", ALL)
def test_images_at_the_very_end_of_memory(op, layer):
    """No vector may reach beyond the last pixel: read in place, the images end at a guard page."""
    mmap = pytest.importorskip("mmap")
    ctypes = pytest.importorskip("ctypes")
    if not hasattr(ctypes.CDLL(None), "mprotect"):
        pytest.skip("no mprotect here")
    arrays, how = case(op, layer)
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    source = np.frombuffer(memory, np.float32, arrays[0].size, page - arrays[0].nbytes)
    source = source.reshape(arrays[0].shape)
    source[...] = arrays[0]
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + page), page, 0) == 0
    found = packed(op)(source, *arrays[1:], **how)
    assert np.array_equal(found, packed(op)(*arrays, **how))
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + page), page, 3) == 0


def test_an_output_that_overlaps_an_input_or_is_strided():
    (x, w, b), how = case(FORWARD, ((2, 8, 6, 6), 8, (3, 3), (1, 1), (1, 1)))
    expected = packed(FORWARD)(x, w, b, **how)
    again = x.copy()
    assert packed(FORWARD)(again, w, b, out=again, **how) is again
    assert np.array_equal(again, expected)
    roomy = np.zeros((2, 8, 6, 12), np.float32)
    packed(FORWARD)(x, w, b, out=roomy[..., ::2], **how)
    assert np.array_equal(roomy[..., ::2], expected)
    assert not roomy[..., 1::2].any()


def test_nothing_around_the_output_is_written():
    for op, layer in itertools.product(ALL, LAYERS):
        arrays, how = case(op, layer)
        shape = ops.get(op).output_shape(tuple(a.shape for a in arrays), **how)
        around = np.full(int(np.prod(shape)) + 64, 7, np.float32)
        out = around[32:-32].reshape(shape)
        packed(op)(*arrays, out=out, **how)
        assert np.all(around[:32] == 7)
        assert np.all(around[-32:] == 7)


def test_relu_keeps_nan_and_cuts_the_rest():
    x = np.array([[[[-1.0, 2.0, np.nan]]]], np.float32)
    w, b = np.ones((1, 1, 1, 1), np.float32), np.zeros(1, np.float32)
    found = packed(FORWARD)(x, w, b, activation="relu")
    assert np.array_equal(found, [[[[0, 2, np.nan]]]], equal_nan=True)


def test_a_stride_may_be_a_list():
    (x, w, b), _ = case(FORWARD, LAYERS[0])
    one = packed(FORWARD)(x, w, b, stride=[2, 1], padding=[1, 0])
    assert np.array_equal(one, packed(FORWARD)(x, w, b, stride=(2, 1), padding=(1, 0)))


@pytest.mark.parametrize(
    ("op", "shapes", "how", "words"),
    [
        (FORWARD, ((1, 3, 5, 5), (2, 4, 3, 3), (2,)), {}, "3 channels does not match"),
        (FORWARD, ((1, 3, 5, 5), (2, 3, 3, 3), (3,)), {}, "does not match 2 output channels"),
        (FORWARD, ((3, 5, 5), (2, 3, 3, 3), (2,)), {}, "4D"),
        (FORWARD, ((1, 3, 2, 5), (2, 3, 3, 3), (2,)), {}, "does not fit"),
        (FORWARD, ((1, 3, 5, 5), (2, 3, 3, 3), (2,)), {"activation": "gelu"}, "activation"),
        (INPUTS, ((1, 2, 3, 3), (3, 2, 3, 3)), {}, "takes gradients"),
        (INPUTS, ((1, 2, 3, 3), (2, 2, 3, 3)), {"input_size": (9, 9)}, "7x7 patches"),
        (INPUTS, ((1, 2, 1, 1), (2, 2, 1, 1)), {"padding": 1}, "cover no image"),
        (WEIGHTS, ((1, 2, 5, 5), (2, 2, 3, 3)), {}, "takes images"),
        (WEIGHTS, ((1, 2, 5, 5), (1, 2, 3, 3)), {"kernel_size": (2, 2)}, "fits 4x4 times"),
        (WEIGHTS, ((1, 2, 3, 3), (1, 2, 4, 4)), {}, "fewer than 4x4"),
    ],
)
def test_wrong_calls_are_refused_in_words(op, shapes, how, words):
    arrays = tuple(np.ones(shape, np.float32) for shape in shapes)
    with pytest.raises((ShapeError, InvalidValue), match=words):
        packed(op)(*arrays, **how)
