"""The historical names: shapes, errors, Tensor and ndarray alike, and what each promises."""

from __future__ import annotations

import contextlib
import functools
import threading
import time

import numpy as np
import pytest

from tinytorch import backends, ops
from tinytorch.backends import ladders
from tinytorch.core.tensor import Tensor
from tinytorch.errors import InvalidValue, ShapeError, UnknownName
from tinytorch.kernels.registry import Kernel
from tinytorch.measure.caches import Cache
from tinytorch.measure.clock import Effort, compare
from tinytorch.measure.memory import measure_memory
from tinytorch.native import threads
from tinytorch.ops.verify import verify
from tinytorch.perf import acceleration, demonstration
from tinytorch.perf.acceleration import (
    ComputeBackend,
    OptimizedBackend,
    blocked_matmul,
    cache_friendly_matmul,
    col2im,
    educational_matmul,
    fused_gelu,
    get_backend,
    im2col,
    im2col_conv2d,
    matmul,
    matmul_baseline,
    matmul_blocked,
    matmul_naive,
    matmul_numpy,
    optimized_matmul,
    parallel_batch_processing,
    parallel_relu,
    quantized_matmul,
    quantized_relu,
    set_backend,
    tiled_matmul,
    unfused_gelu,
    vectorized_matmul,
    vectorized_operations,
    vectorized_relu,
)
from tinytorch.perf.workers import at_most

PRODUCTS = [
    vectorized_matmul,
    tiled_matmul,
    functools.partial(tiled_matmul, tile_size=7),
    functools.partial(tiled_matmul, tile_size="auto"),
    educational_matmul,
    matmul_naive,
    blocked_matmul,
    matmul_blocked,
    cache_friendly_matmul,
    optimized_matmul,
    matmul_numpy,
    matmul,
    matmul_baseline,
    OptimizedBackend().matmul,
]
ELEMENTWISE = {
    fused_gelu: "gelu",
    unfused_gelu: "gelu",
    vectorized_relu: "relu",
    parallel_relu: "relu",
}


def draw(*shape: int, dtype: str = "float32", seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(dtype)


def is_right(op: str, inputs: tuple[np.ndarray, ...], output: object) -> None:
    verify(ops.get(op), inputs, output).require(op)


# Products -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("size", ["tiny", "odd", "deep", "empty-k", "batched", "broadcast"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_are_right(product, size: str, dtype: str) -> None:
    arrays = ops.get("matmul").inputs(ops.get("matmul").size(size).shapes, dtype)
    is_right("matmul", arrays, product(*arrays))


@pytest.mark.parametrize("product", PRODUCTS)
def test_products_take_tensors(product) -> None:
    a, b = draw(3, 4), draw(4, 5)
    plain = product(a, b)
    assert type(plain) is np.ndarray
    for pair in ((Tensor(a), Tensor(b)), (a, Tensor(b)), (Tensor(a), b)):
        found = product(*pair)
        assert type(found) is Tensor
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found.data, plain)


@pytest.mark.parametrize("product", PRODUCTS)
def test_products_refuse_shapes_that_do_not_fit(product) -> None:
    with pytest.raises(ShapeError, match=r"shape mismatch: \(3, 4\) @ \(5, 6\)"):
        product(draw(3, 4), draw(5, 6))
    with pytest.raises(ShapeError, match="shape mismatch"):
        product(Tensor(draw(3, 4)), Tensor(draw(5, 6)))
    with pytest.raises(ShapeError, match="shape mismatch: the batch axes"):
        product(draw(2, 3, 4), draw(3, 4, 5))


@pytest.mark.parametrize("product", [p for p in PRODUCTS if p is not matmul_baseline])
def test_products_need_two_axes(product) -> None:
    with pytest.raises(ShapeError, match=r"2D\+"):
        product(draw(4), draw(4, 5))


@pytest.mark.parametrize("product", PRODUCTS)
def test_products_refuse_what_is_not_numbers(product) -> None:
    with pytest.raises(ValueError, match="numbers"):
        product(np.array([["a"]]), np.array([["b"]]))


def test_lists_and_integers_are_multiplied_as_numpy_does() -> None:
    found = tiled_matmul([[1, 2], [3, 4]], [[5, 6], [7, 8]], tile_size=1)
    assert found.tolist() == [[19, 22], [43, 50]]
    assert found.dtype.kind == "i"


@pytest.mark.parametrize("tile", [0, -3, 2.0, True, None, "large"])
@pytest.mark.parametrize("product", [tiled_matmul, blocked_matmul, cache_friendly_matmul])
def test_a_tile_is_a_positive_int(product, tile: object) -> None:
    with pytest.raises(InvalidValue, match=r"tile.*got"):
        product(draw(3, 4), draw(4, 5), tile)


def test_the_product_is_really_tiled_over_rows_columns_and_depth() -> None:
    a, b = draw(64, 64), draw(64, 64)
    # One temporary for each tile product, and the output.
    found = {
        tile: measure_memory(tiled_matmul, a, b, tile_size=tile).allocations
        for tile in (16, 32, 64)
    }
    assert found == {16: 4**3 + 1, 32: 2**3 + 1, 64: 2}


@pytest.mark.parametrize(
    ("caches", "dtype", "expected"),
    [
        ((Cache(2, "unified", 256 << 10, 8, 64, 1),), "float32", 128),
        ((Cache(2, "unified", 256 << 10, 8, 64, 1),), "float64", 64),
        (
            (Cache(1, "data", 32 << 10, 8, 64, 1), Cache(2, "instruction", 1, 1, 1, 1)),
            "float32",
            64,
        ),
    ],
)
def test_the_auto_tile_follows_the_second_level_cache(
    monkeypatch, caches: tuple[Cache, ...], dtype: str, expected: int
) -> None:
    seen = []
    monkeypatch.setattr(acceleration, "detect_caches", lambda: caches)
    monkeypatch.setattr(
        acceleration.registry, "get", lambda op, name: lambda a, b, tile: seen.append(tile)
    )
    tiled_matmul(draw(2, 2, dtype=dtype), draw(2, 2, dtype=dtype), tile_size="auto")
    assert seen == [expected]


def test_matmul_runs_on_the_current_backend() -> None:
    a, b = draw(4, 4), draw(4, 4)
    for product in (matmul, matmul_numpy, optimized_matmul, matmul_baseline):
        with backends.use_backend("null"):
            empty = measure_memory(product, a, b).allocations
        assert empty == 1
    with backends.use_backend("naive"):
        np.testing.assert_array_equal(matmul(a, b), matmul_naive(a, b))


# Elementwise --------------------------------------------------------------------------------------
LAYOUTS = {
    "vector": lambda: draw(1000),
    "scalar": lambda: np.float32(-1.5),
    "empty": lambda: draw(3, 0),
    "threads": lambda: draw(1 << 20),
    "strided": lambda: draw(40, 50)[::2, ::-3],
    "fortran": lambda: np.asfortranarray(draw(40, 50)),
    "float64": lambda: draw(7, 9, dtype="float64"),
    "foreign bytes": lambda: draw(9).astype(">f4"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("function", ELEMENTWISE)
def test_elementwise_functions_are_right(function, layout: str) -> None:
    x = np.asarray(LAYOUTS[layout]())
    is_right(
        ELEMENTWISE[function],
        (x.astype(x.dtype.newbyteorder("=")),),
        function(x).astype(x.dtype.newbyteorder("=")),
    )
    assert function(x).dtype.name == x.dtype.name


@pytest.mark.parametrize("function", ELEMENTWISE)
def test_elementwise_functions_take_tensors(function) -> None:
    x = draw(5, 6)
    found = function(Tensor(x))
    assert type(found) is Tensor
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.data, function(x))


@pytest.mark.parametrize("function", ELEMENTWISE)
def test_elementwise_functions_refuse_what_is_not_numbers(function) -> None:
    with pytest.raises(InvalidValue, match="real numbers"):
        function(np.array(["a"]))
    with pytest.raises(InvalidValue, match="regular shape"):
        function([[1.0], [1.0, 2.0]])


@pytest.mark.parametrize("function", [fused_gelu, unfused_gelu])
@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", "float16"])
def test_gelu_of_other_numbers_is_float32(function, dtype: str) -> None:
    x = np.array([0, 1, 1, 0], dtype)
    is_right("gelu", (x.astype(np.float32),), function(x))


@pytest.mark.parametrize("function", [vectorized_relu, parallel_relu])
def test_relu_of_integers_stays_integer(function) -> None:
    x = np.array([-3, 0, 5], np.int16)
    assert function(x).tolist() == [0, 0, 5]
    assert function(x).dtype == np.int16


@pytest.mark.parametrize("count", [1 << 14, 1 << 20], ids=["one thread", "threads"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fused_gelu_allocates_its_output_and_nothing_else(count: int, dtype: str) -> None:
    x = draw(count, dtype=dtype)
    fused_gelu(x)
    used = measure_memory(fused_gelu, x)
    assert used.allocations == 1
    assert used.peak_bytes < x.nbytes + 8192  # the output, and Python's own small objects
    assert measure_memory(unfused_gelu, x).peak_bytes > 3 * x.nbytes


def test_vectorized_operations() -> None:
    x, y = draw(6, 7), draw(6, 7, seed=1)
    found = vectorized_operations(x, y)
    is_right("multiply", (x, y), found["element_wise_multiply"])
    is_right("add", (x, y), found["element_wise_add"])
    is_right("squared_difference", (x, y), found["squared_difference"])
    is_right("euclidean_distance", (x, y), found["euclidean_distance"])
    is_right("dot", (x, y), found["dot_product"])
    assert found["multiply"] is found["element_wise_multiply"]
    assert found["add"] is found["element_wise_add"]
    assert found["squared_diff"] is found["squared_difference"]
    assert len(found) == 8
    assert {np.asarray(value).dtype.name for value in found.values()} == {"float32"}
    assert np.isscalar(found["dot_product"])


def test_vectorized_operations_take_tensors() -> None:
    x, y = draw(6), draw(6, seed=1)
    plain = vectorized_operations(x, y)
    for name, value in vectorized_operations(Tensor(x), y).items():
        assert type(value) is Tensor, name
        np.testing.assert_array_equal(value.data, plain[name])


def test_vectorized_operations_broadcast_but_pair_all_elements_for_scalars() -> None:
    x, y = np.array([[1.0], [2.0], [3.0]]), np.array([[10.0, 20.0, 30.0]])
    found = vectorized_operations(x, y)
    assert found["add"].tolist() == [[11, 21, 31], [12, 22, 32], [13, 23, 33]]
    assert found["dot_product"] == 10 + 40 + 90
    assert found["euclidean_distance"] == np.sqrt(81 + 18**2 + 27**2)


def test_vectorized_operations_of_integers_and_mixed_types() -> None:
    found = vectorized_operations([3, 4], [0, 0])
    assert found["euclidean_distance"] == 5
    assert found["dot_product"].dtype.kind == "i"
    mixed = vectorized_operations(draw(5), draw(5, dtype="float64"))
    assert mixed["euclidean_distance"].dtype == np.float64


def test_vectorized_operations_refuse_what_does_not_pair() -> None:
    with pytest.raises(ShapeError, match=r"\(2, 3\) and \(4,\) have 6 and 4"):
        vectorized_operations(draw(2, 3), draw(4))
    with pytest.raises(ShapeError, match="do not broadcast"):
        vectorized_operations(draw(2, 3), draw(3, 2))


# Convolution --------------------------------------------------------------------------------------
def convolution_by_loops(x, weight, bias, stride, padding) -> np.ndarray:
    """Return the convolution of float64 images by seven loops in plain Python."""
    (sh, sw), (ph, pw) = stride, padding
    (n, c, h, w), (o, _, kh, kw) = x.shape, weight.shape
    oh, ow = (h + 2 * ph - kh) // sh + 1, (w + 2 * pw - kw) // sw + 1
    out = np.zeros((n, o, oh, ow))
    for image, output, top, left in np.ndindex(n, o, oh, ow):
        total = 0.0 if bias is None else float(bias[output])
        for channel, i, j in np.ndindex(c, kh, kw):
            row, column = top * sh + i - ph, left * sw + j - pw
            if 0 <= row < h and 0 <= column < w:
                total += float(x[image, channel, row, column]) * weight[output, channel, i, j]
        out[image, output, top, left] = total
    return out


@pytest.mark.parametrize(
    ("images", "weights", "stride", "padding"),
    [
        ((2, 3, 6, 5), (4, 3, 3, 3), (1, 1), (0, 0)),
        ((2, 3, 6, 5), (4, 3, 3, 3), (2, 2), (1, 1)),
        ((1, 2, 7, 9), (3, 2, 2, 3), (1, 2), (0, 2)),
        ((3, 4, 4, 4), (5, 4, 1, 1), (1, 1), (0, 0)),
        ((1, 1, 3, 3), (1, 1, 3, 3), (1, 1), (0, 0)),
    ],
)
@pytest.mark.parametrize("with_bias", [True, False])
def test_convolution_is_what_the_loops_say(images, weights, stride, padding, with_bias) -> None:
    x, weight = draw(*images), draw(*weights, seed=1)
    bias = draw(weights[0], seed=2) if with_bias else None
    expected = convolution_by_loops(x, weight, bias, stride, padding)
    found = im2col_conv2d(x, weight, bias, stride, padding)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    tensors = im2col_conv2d(Tensor(x), weight, bias, stride=stride, padding=padding)
    assert type(tensors) is Tensor
    np.testing.assert_array_equal(tensors.data, found)


def test_convolution_is_the_product_of_rows_and_kernels() -> None:
    x, weight = draw(2, 3, 6, 6), draw(4, 3, 3, 3)
    rows = im2col(x, 3, padding=1) @ weight.reshape(4, -1).T
    found = im2col_conv2d(x, weight, padding=1)
    np.testing.assert_allclose(
        found.transpose(0, 2, 3, 1).reshape(-1, 4), rows, rtol=1e-5, atol=1e-5
    )


def test_convolution_of_no_images_and_of_integers() -> None:
    assert im2col_conv2d(draw(0, 3, 5, 5), draw(4, 3, 3, 3)).shape == (0, 4, 3, 3)
    x, weight = np.ones((1, 1, 2, 2), np.int64), np.ones((1, 1, 2, 2), np.int64)
    assert im2col_conv2d(x, weight, np.array([0.5])).tolist() == [[[[4.5]]]]
    assert im2col_conv2d(x, weight, np.array([1])).dtype == np.int64


def test_a_float64_bias_leaves_float32_as_it_is() -> None:
    found = im2col_conv2d(draw(1, 1, 3, 3), draw(2, 1, 3, 3), np.zeros(2))
    assert found.dtype == np.float32


def test_a_convolution_leaves_its_inputs_alone() -> None:
    x, weight, bias = draw(1, 2, 4, 4), draw(2, 2, 1, 1), draw(2)
    before = x.copy(), weight.copy()
    im2col_conv2d(x, weight, bias)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(weight, before[1])


def test_convolution_refuses_shapes_that_do_not_fit() -> None:
    with pytest.raises(ShapeError, match="4D"):
        im2col_conv2d(draw(3, 6, 6), draw(4, 3, 3, 3))
    with pytest.raises(ShapeError, match="4D"):
        im2col_conv2d(draw(1, 3, 6, 6), draw(3, 3))
    with pytest.raises(ShapeError, match=r"3 channels does not match a weight for 2 channels"):
        im2col_conv2d(draw(1, 3, 6, 6), draw(4, 2, 3, 3))
    with pytest.raises(ShapeError, match=r"\(3,\) does not match 4 output channels"):
        im2col_conv2d(draw(1, 3, 6, 6), draw(4, 3, 3, 3), draw(3))


def test_patches_take_tensors() -> None:
    x = draw(2, 3, 5, 5)
    cols = im2col(Tensor(x), 3, stride=2)
    assert type(cols) is Tensor
    np.testing.assert_array_equal(cols.data, im2col(x, 3, 2))
    back = col2im(cols, x.shape, 3, stride=2)
    assert type(back) is Tensor
    np.testing.assert_array_equal(back.data, col2im(cols.data, x.shape, 3, 2))
    with pytest.raises(ShapeError, match="does not match"):
        col2im(cols, (2, 3, 9, 9), 3)


# Threads ------------------------------------------------------------------------------------------
@pytest.mark.parametrize("workers", [1, 2, 3, 16])
def test_results_keep_the_order_of_the_items(workers: int) -> None:
    def later_items_sooner(i: int) -> int:
        time.sleep((37 - i) * 1e-4)
        return i * i

    expected = [i * i for i in range(37)]
    assert parallel_batch_processing(range(37), later_items_sooner, workers) == expected
    assert parallel_batch_processing((i for i in range(37)), later_items_sooner) == expected


def test_items_are_processed_at_once() -> None:
    together = threading.Barrier(3, timeout=20)
    found = parallel_batch_processing([1, 2, 3], lambda i: (together.wait(), i)[1], 3)
    assert found == [1, 2, 3]


def test_waiting_items_gain_from_workers() -> None:
    items = [0.05] * 8  # waking workers on a busy machine takes tens of milliseconds
    found = compare(
        lambda: [time.sleep(s) for s in items],
        lambda: parallel_batch_processing(items, time.sleep),
        effort=Effort(seconds=0.5),
    )
    assert found.ratio.median > 1.5


@pytest.mark.parametrize("workers", [1, 4])
def test_the_first_exception_propagates_and_the_rest_is_dropped(workers: int) -> None:
    ran = []

    def fails(i: int) -> int:
        ran.append(i)
        if i >= 40:
            raise KeyError(i)
        time.sleep(1e-3)
        return i

    with pytest.raises(KeyError, match="40"):
        parallel_batch_processing(range(200), fails, workers)
    assert len(ran) < 200
    assert threads.get_num_threads() == threads._default()


def test_workers_see_the_callers_backend_and_error_state() -> None:
    with backends.use_backend("naive"), np.errstate(divide="raise"):
        seen = parallel_batch_processing([0] * 4, lambda _: (get_backend().name, np.geterr()), 4)
    assert {name for name, _ in seen} == {"naive"}
    assert {state["divide"] for _, state in seen} == {"raise"}


def test_arrays_and_tensors_are_taken_apart_and_stacked() -> None:
    x = draw(5, 3, 4)
    found = parallel_batch_processing(x, lambda item: item.sum(axis=0))
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, x.sum(axis=1))
    tensors = parallel_batch_processing(Tensor(x), lambda item: item.relu(), 2)
    assert type(tensors) is Tensor
    assert tensors.dtype == np.float32
    np.testing.assert_array_equal(tensors.data, np.maximum(x, 0))
    assert parallel_batch_processing(x, lambda item: item.size).tolist() == [12] * 5


def test_lists_give_lists_of_whatever_comes_out() -> None:
    found = parallel_batch_processing([Tensor(draw(2)), Tensor(draw(3))], vectorized_relu)
    assert [type(item) for item in found] == [Tensor, Tensor]
    assert [item.shape for item in found] == [(2,), (3,)]


def test_empty_batches() -> None:
    assert parallel_batch_processing([], abs) == []
    assert parallel_batch_processing(draw(0, 3), abs).shape == (0, 3)
    assert type(parallel_batch_processing(Tensor(draw(0, 3)), abs)) is Tensor


def test_bad_batches_are_refused() -> None:
    with pytest.raises(ShapeError, match="first axis"):
        parallel_batch_processing(np.array(1.0), abs)
    with pytest.raises(InvalidValue, match="array or a list, got a int"):
        parallel_batch_processing(3, abs)
    with pytest.raises(InvalidValue, match="callable, got a int"):
        parallel_batch_processing([1], 3)
    with pytest.raises(ShapeError, match="can't be stacked"):
        parallel_batch_processing(draw(3, 3), lambda row: row[row > row[0]])


@pytest.mark.parametrize("workers", [0, -1, 1.5, True, "4", None])
def test_workers_are_counted_from_one(workers: object) -> None:
    with pytest.raises(InvalidValue, match="num_workers must be an int of at least 1"):
        parallel_relu(draw(3), workers)
    with pytest.raises(InvalidValue, match="num_workers must be an int of at least 1"):
        parallel_batch_processing([1], abs, workers)


several_cpus = pytest.mark.skipif(threads.usable_cpus() < 2, reason="needs two CPUs")


@several_cpus
def test_kernels_within_workers_share_the_threads() -> None:
    total = threads.get_num_threads()
    seen = parallel_batch_processing([0] * 8, lambda _: threads.get_num_threads(), total)
    assert set(seen) == {1}
    assert threads.get_num_threads() == total


@several_cpus
def test_a_limit_within_a_limit_changes_nothing() -> None:
    total = threads.get_num_threads()
    with pytest.raises(KeyError), at_most(1):
        assert threads.get_num_threads() == 1
        with at_most(total), at_most(1):
            assert threads.get_num_threads() == 1
        assert threads.get_num_threads() == 1
        raise KeyError
    assert threads.get_num_threads() == total


@pytest.mark.parametrize(
    ("workers", "count", "expected"),
    [(1, 1 << 22, []), (2, 1 << 20, []), (2, 1 << 22, [2]), (8, 1 << 22, [])],
)
def test_fewer_workers_than_threads_are_a_limit_where_it_pays(
    monkeypatch, workers: int, count: int, expected: list[int]
) -> None:
    limits = []
    monkeypatch.setattr(threads, "get_num_threads", lambda: 8)
    monkeypatch.setattr(
        acceleration, "at_most", lambda n: (limits.append(n), contextlib.nullcontext())[1]
    )
    x = draw(count)
    np.testing.assert_array_equal(parallel_relu(x, workers), np.maximum(x, 0))
    assert limits == expected


@pytest.mark.parametrize("workers", [1, 2, 64])
def test_parallel_relu_is_the_same_for_any_number_of_workers(workers: int) -> None:
    x = draw(1 << 20)
    np.testing.assert_array_equal(parallel_relu(x, num_workers=workers), np.maximum(x, 0))


# Codes --------------------------------------------------------------------------------------------
def test_codes_are_multiplied_exactly() -> None:
    a, b = ops.get("int8_matmul").inputs(((9, 33), (33, 7)), "int8")
    exact = [
        [sum(int(x) * int(y) for x, y in zip(row, col, strict=True)) for col in b.T] for row in a
    ]
    found = quantized_matmul(a, b, 0.5, 0.25)
    assert found.dtype == np.float32
    assert found.tolist() == [[total * 0.125 for total in row] for row in exact]


def test_values_are_quantised_and_their_product_is_near() -> None:
    a, b = draw(16, 64), draw(64, 8, seed=1)
    scales = [float(np.abs(m).max()) / 127 for m in (a, b)]
    found = quantized_matmul(a, b, *scales)
    codes = [np.clip(np.rint(m / s), -128, 127) for m, s in zip((a, b), scales, strict=True)]
    np.testing.assert_allclose(found, codes[0] @ codes[1] * scales[0] * scales[1], rtol=1e-6)
    bound = 0.5 * (scales[0] * np.abs(b).sum(0) + scales[1] * np.abs(a).sum(1)[:, None])
    assert np.all(np.abs(found - a.astype(np.float64) @ b) <= bound + 64 * scales[0] * scales[1])


def test_codes_saturate_and_sums_do_not_wrap() -> None:
    low, high = np.full((1, 1000), -300), np.full((1000, 1), -1e9)
    assert quantized_matmul(low, high) == [[1000 * 128 * 128]]
    assert quantized_matmul(np.full((1, 2), 200, np.uint8), np.ones((2, 1), np.int8)) == [[254]]


def test_a_depth_that_could_overflow_is_refused() -> None:
    deep = np.zeros((1, 2**17), np.int8)
    with pytest.raises(InvalidValue, match="131072 may overflow"):
        quantized_matmul(deep, deep.T)
    assert quantized_matmul(deep[:, 1:], deep[:, 1:].T) == [[0]]


def test_quantized_relu() -> None:
    codes = np.array([-128, -1, 0, 1, 127], np.int8)
    found = quantized_relu(codes, 0.5)
    assert found.dtype == np.float32
    assert found.tolist() == [0, 0, 0, 0.5, 63.5]
    assert quantized_relu(np.array([-3.0, 0.6, 1e9]), 0.5).tolist() == [0, 0.5, 63.5]


def test_quantized_functions_take_tensors() -> None:
    a, b = draw(3, 4), draw(4, 5)
    found = quantized_matmul(Tensor(a), b, scale_A=0.1, scale_B=0.1)
    assert type(found) is Tensor
    np.testing.assert_array_equal(found.data, quantized_matmul(a, b, 0.1, 0.1))
    assert type(quantized_relu(Tensor(a))) is Tensor


def test_quantized_functions_refuse_bad_input() -> None:
    bad = np.array([[np.nan, 1.0]])
    with pytest.raises(InvalidValue, match="A holds NaN"):
        quantized_matmul(bad, bad.T)
    with pytest.raises(InvalidValue, match="B holds NaN"):
        quantized_matmul(np.ones((1, 2)), bad.T)
    with pytest.raises(InvalidValue, match="x holds NaN"):
        quantized_relu(bad)
    with pytest.raises(InvalidValue, match="scale_B must be a positive number"):
        quantized_matmul(draw(2, 2), draw(2, 2), 1.0, 0.0)
    with pytest.raises(InvalidValue, match="scale must be a positive number"):
        quantized_relu(draw(2), -1)
    with pytest.raises(ShapeError, match="shape mismatch"):
        quantized_matmul(draw(2, 3), draw(2, 3))
    with pytest.raises(ShapeError, match=r"2D\+"):
        quantized_matmul(draw(2), draw(2))


# Backends -----------------------------------------------------------------------------------------
def test_the_optimized_backend_is_auto_by_another_name() -> None:
    backend = OptimizedBackend()
    x = draw(100)
    np.testing.assert_array_equal(
        backend.dispatch("gelu", x, approximate="none"),
        backends.get("auto").dispatch("gelu", x, approximate="none"),
    )
    assert type(backend.dispatch("relu", Tensor(x))) is Tensor
    out = np.empty_like(x)
    assert backend.dispatch("relu", x, out=out) is out
    arrays = (draw(8, 8), draw(8, 8))
    assert backend.choose("matmul", arrays, {}) is backends.get("auto").choose("matmul", arrays, {})


def test_the_optimized_backend_can_be_set() -> None:
    backend = OptimizedBackend()
    assert isinstance(backend, ComputeBackend)
    assert set_backend(backend) is backend is get_backend()
    is_right("matmul", (draw(3, 4), draw(4, 5)), matmul(draw(3, 4), draw(4, 5)))


def test_unknown_operations_and_backends_are_one_clear_error() -> None:
    with pytest.raises(UnknownName, match=r"matmull.*did you mean 'matmul'"):
        OptimizedBackend().dispatch("matmull", draw(2, 2), draw(2, 2))
    with pytest.raises(UnknownName, match="unknown op"):
        OptimizedBackend().dispatch([], draw(2, 2))
    with pytest.raises(UnknownName, match="did you mean 'numpy'"):
        set_backend("numpie")


# Names and tables ---------------------------------------------------------------------------------
@pytest.mark.parametrize("module", ["acceleration", "kernels"])
def test_core_gives_the_same_names(module: str) -> None:
    names: dict[str, object] = {}
    exec(f"from tinytorch.core.{module} import *", names)
    for name in acceleration.__all__:
        assert names[name] is getattr(acceleration, name)
    imported = __import__(f"tinytorch.core.{module}", fromlist=["matmul"])
    assert dir(imported) == sorted(acceleration.__all__)
    assert imported.matmul is matmul
    for absent in ("nothing_here", "_numbers", "np"):
        with pytest.raises(AttributeError, match=absent):
            getattr(imported, absent)


def test_all_names_exist_once() -> None:
    assert len(set(acceleration.__all__)) == len(acceleration.__all__)
    for name in acceleration.__all__:
        assert callable(getattr(acceleration, name))


def test_the_demonstration_returns_every_rung_as_data(monkeypatch, capsys) -> None:
    small = {"matmul": "32", "gelu": "1K", "softmax": "64x64", "layer_norm": "64x64"}
    real = ladders.run_ladder
    asked = {}

    def tiny(op, *, size, seconds):
        asked[op] = size
        return real(op, size=small[op], seconds=seconds)

    monkeypatch.setattr(ladders, "run_ladder", tiny)
    rows = acceleration.run_complete_acceleration_demo(seconds=0.005)
    ladder = [(op, k.name) for op in small for k in acceleration.registry.ladder(op)]
    assert [(row["op"], row["kernel"]) for row in rows] == ladder
    assert asked == dict(demonstration.LADDERS)
    for row in rows:
        assert row["verified"]
        low, high = row["interval_seconds"]
        assert low <= row["median_seconds"] <= high
        assert (row["speedup_over_naive"] is None) == (row["kernel"] == "naive")
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(rows) + 1
    assert all(row["kernel"] in line for row, line in zip(rows, printed[1:], strict=True))
    assert acceleration.final_performance_test is acceleration.run_complete_acceleration_demo


def test_a_failed_rung_is_printed_with_its_reason(capsys) -> None:
    broken = Kernel(op="relu", name="broken", function=lambda x, out=None: x + 1)
    (row,) = ladders.run_ladder("relu", size="1K", seconds=0.005, kernels=[broken]).rows
    summary = demonstration._summary("relu", row)
    assert not summary["verified"]
    assert summary["median_seconds"] is summary["interval_seconds"] is None
    demonstration._show([summary])
    assert "broken" in (printed := capsys.readouterr().out)
    assert "not timed: error" in printed
