"""Where kernels write, and what they may share memory with: every rung of every ladder."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from tinytorch import ops
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.kernels import registry
from tinytorch.kernels.outputs import aligned_empty, destination, destinations
from tinytorch.native import threads
from tinytorch.ops.verify import verify

FLOAT_OPS = [name for name in ops.names() if "float32" in ops.get(name).dtypes]
SAME_SHAPE = [(o, n) for o in FLOAT_OPS for n in registry.rung_names(o) if ops.get(o).specials]
SAME_SHAPE += [("softmax", name) for name in registry.rung_names("softmax")]
REDUCTIONS = [(o, "parallel") for o in ("dot", "euclidean_distance")]


def test_outputs_of_one_op_may_lie_side_by_side_but_not_on_each_other() -> None:
    x, gain, block = (np.ones(shape, np.float32) for shape in ((6, 8), (8,), (8, 2)))

    def given(dgain: np.ndarray, dbias: np.ndarray) -> tuple[np.ndarray, ...]:
        out = (np.empty_like(x), dgain, dbias)
        return destinations("layer_norm_gradient", (x, gain, x), out)

    columns = block[:, 0], block[:, 1]
    assert all(a is b for a, b in zip(given(*columns)[1:], columns, strict=True))
    with pytest.raises(InvalidValue, match="out arrays overlap"):
        given(block.reshape(-1)[:8], block.reshape(-1)[4:12])
    with pytest.raises(InvalidValue, match="out arrays overlap"):
        given(block[:, 0], block.reshape(-1)[:8])


def ids(rungs: list[tuple[str, str]]) -> list[str]:
    return [f"{op}-{name}" for op, name in rungs]


# Fresh arrays ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1 << 17,), (300, 601), (7, 1 << 15)])
@pytest.mark.parametrize("dtype", ["int8", "float32", "float64"])
def test_large_arrays_start_in_the_middle_of_a_page(shape: tuple[int, ...], dtype: str) -> None:
    kept = [aligned_empty(shape, dtype) for _ in range(4)]
    for array in kept:
        assert array.ctypes.data % 4096 == 2048
        assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
        assert array.flags.c_contiguous and array.flags.writeable


def test_small_and_empty_arrays() -> None:
    assert aligned_empty((), "float32").shape == ()
    assert aligned_empty((3, 0), "float32").shape == (3, 0)


def test_an_aligned_array_costs_its_own_bytes_and_no_more() -> None:
    tracemalloc.start()
    try:
        array = aligned_empty((1 << 20,), "float32")
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert array.nbytes <= peak_bytes < 1.01 * array.nbytes


# What is given --------------------------------------------------------------------------------


def test_out_is_taken_as_it_is() -> None:
    x = np.ones((3, 4), np.float32)
    out = np.empty((4, 3), np.float32).T
    assert destination("relu", (x,), out) is out


@pytest.mark.parametrize(
    ("out", "error", "words"),
    [
        (np.empty((3, 4)), InvalidValue, "ndarray of float32, got float64"),
        ([[0.0] * 4] * 3, InvalidValue, "ndarray of float32, got list"),
        (np.empty((4, 3), np.float32), ShapeError, r"shape \(3, 4\), got \(4, 3\)"),
        (np.empty((2, 3, 4), np.float32), ShapeError, r"shape \(3, 4\), got \(2, 3, 4\)"),
        (np.broadcast_to(np.float32(0), (3, 4)), InvalidValue, "read-only"),
    ],
)
def test_out_that_does_not_fit(out: object, error: type[Exception], words: str) -> None:
    x = np.ones((3, 4), np.float32)
    for rung in registry.ladder("relu"):
        with pytest.raises(error, match=words):
            rung.function(x, out=out)
    if isinstance(out, np.ndarray):  # by matmul's rungs likewise
        for rung in registry.ladder("matmul"):
            with pytest.raises(error):
                rung.function(x, np.eye(4, dtype=np.float32), out=out)


# Shared memory --------------------------------------------------------------------------------


@pytest.mark.parametrize(("op", "name"), SAME_SHAPE, ids=ids(SAME_SHAPE))
def test_out_may_be_an_input(op: str, name: str) -> None:
    rung, described = registry.get(op, name), ops.get(op)
    for place in range(described.arity):
        arrays = described.inputs(((33, 65),) * described.arity)
        before = tuple(a.copy() for a in arrays)
        result = rung.function(*arrays, out=arrays[place])
        assert result is arrays[place]
        assert verify(described, before, result).ok


@pytest.mark.parametrize(("op", "name"), SAME_SHAPE, ids=ids(SAME_SHAPE))
@pytest.mark.parametrize("shift", [1, -1])
def test_out_may_overlap_an_input_in_part(op: str, name: str, shift: int) -> None:
    rung, described = registry.get(op, name), ops.get(op)
    arrays = list(described.inputs(((40, 8),) * described.arity))
    shared = np.zeros((42, 8), np.float32)
    shared[1:41] = arrays[0]
    arrays[0] = shared[1:41]
    before = tuple(a.copy() for a in arrays)
    result = rung.function(*arrays, out=shared[1 + shift : 41 + shift])
    assert verify(described, before, result).ok


@pytest.mark.parametrize("name", registry.rung_names("matmul"))
def test_out_may_be_an_operand_of_a_product(name: str) -> None:
    rung, described = registry.get("matmul", name), ops.get("matmul")
    for place in (0, 1):
        arrays = described.inputs(((3, 9, 9), (3, 9, 9)))
        before = tuple(a.copy() for a in arrays)
        result = rung.function(*arrays, out=arrays[place])
        assert result is arrays[place]
        assert verify(described, before, result).ok


@pytest.mark.parametrize(("op", "name"), SAME_SHAPE, ids=ids(SAME_SHAPE))
def test_out_may_have_any_strides(op: str, name: str) -> None:
    rung, described = registry.get(op, name), ops.get(op)
    arrays = described.inputs(((12, 10),) * described.arity)
    roomy = np.full((24, 20), 113, np.float32)
    result = rung.function(*arrays, out=roomy[::2, ::2])
    assert verify(described, arrays, result).ok
    assert (roomy[1::2] == 113).all() and (roomy[:, 1::2] == 113).all()


# Threads --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("op", "name"), REDUCTIONS, ids=ids(REDUCTIONS))
def test_sums_do_not_depend_on_the_threads(op: str, name: str) -> None:
    rung, described = registry.get(op, name), ops.get(op)
    arrays = described.inputs(((200_001,), (200_001,)))
    assert verify(described, arrays, rung.function(*arrays)).ok
    sums = []
    for count in range(1, threads.usable_cpus() + 1):
        with threads.use_threads(count):
            sums.append(float(rung.function(*arrays)))
    assert len(set(sums)) == 1


@pytest.mark.parametrize("op", [op for op in FLOAT_OPS if "parallel" in registry.rung_names(op)])
def test_more_threads_than_work(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    described = ops.get(op)
    filled = [size.shapes for size in described.sizes if all(map(math.prod, size.shapes))]
    arrays = described.inputs(min(filled, key=lambda shapes: sum(map(math.prod, shapes))))
    monkeypatch.setattr(threads, "get_num_threads", lambda: 7)
    params = described.variants[0]
    result = registry.get(op, "parallel").function(*arrays, **params)
    assert verify(described, arrays, result, params).ok


# Rows that are not ordinary -------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", registry.rung_names("softmax"))
def test_softmax_rows_with_masks_and_large_logits(name: str, dtype: str) -> None:
    x = np.array(
        [
            [1, -np.inf, 2, 3, -np.inf],
            [-1e30, 0, 1e30, 1, 2],
            [88, -88, 700, -700, 0],
            [5, 5, 5, 5, 5],
        ],
        dtype,
    )
    rung = registry.get("softmax", name)
    with np.errstate(all="ignore"):
        assert verify(ops.get("softmax"), (x,), rung.function(x)).ok


@pytest.mark.parametrize("name", registry.rung_names("softmax"))
def test_softmax_rows_without_an_answer_are_nan(name: str) -> None:
    x = np.float32([[np.nan, 1, 2], [1, 2, np.nan], [-np.inf] * 3, [1, np.inf, 2], [1, 2, 3]])
    with np.errstate(all="ignore"):
        result = registry.get("softmax", name).function(x)
    assert np.isnan(result[:4]).all()
    assert np.isfinite(result[4]).all()
