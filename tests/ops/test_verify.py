from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinytorch import ops
from tinytorch.errors import VerificationError
from tinytorch.ops.spec import Array, Op
from tinytorch.ops.verify import expected_dtype, run_checked, verify

FLOAT_OPS = [name for name in ops.names() if "float32" in ops.get(name).dtypes]
REDUCTIONS = ("dot", "euclidean_distance", "cross_entropy")
MATMUL = ops.get("matmul")
SOFTMAX = ops.get("softmax")


def middling(op: Op) -> tuple[Array, ...]:
    """Inputs of some hundred elements: enough for a fault to show, too few to drown it."""
    sizes = {size.name: size for size in op.sizes}
    wanted = ("prime",) if op.name in ("matmul", "linear") else ("4d", "odd", "prime")
    found = [sizes[name] for name in wanted if name in sizes]
    return op.inputs((found or op.sizes[:1])[0].shapes)


def honest(op: Op, arrays: tuple[Array, ...], **params: Any) -> Any:
    """The op in the inputs' own precision: its formula is NumPy and takes any."""
    found, dtype = op.reference(*arrays, **params), expected_dtype(op, arrays)
    if op.outputs > 1:
        return tuple(np.asarray(one).astype(dtype) for one in found)
    return np.asarray(found).astype(dtype)


def first(op: Op, output: Any) -> Array:
    """The op's output, or the first of several."""
    return np.asarray(output[0] if op.outputs > 1 else output)


# What is accepted -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FLOAT_OPS)
def test_honest_results_are_accepted(name: str, dtype: str) -> None:
    op = ops.get(name)
    for size in op.sizes:
        for params in op.variants:
            arrays = op.inputs(size.shapes, dtype)
            check = verify(op, arrays, honest(op, arrays, **params), params)
            assert check.ok, f"{size} {params}: {check.reason}"


def summed_in_order(a: Array, b: Array) -> Array:
    """One float32 accumulator, term after term: the least accurate of the honest products."""
    total = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    for k in range(a.shape[1]):
        total += a[:, k : k + 1] * b[k : k + 1, :]
    return total


def summed_in_pairs(a: Array, b: Array) -> Array:
    return np.asarray((a[:, :, None] * b[None, :, :]).sum(axis=1, dtype=a.dtype))


SIDES = st.integers(1, 24)


@settings(max_examples=60)
@given(SIDES, st.integers(1, 300), SIDES, st.integers(0, 2**32 - 1), st.booleans())
def test_honest_products_are_never_refused(
    M: int, K: int, N: int, seed: int, one_sign: bool
) -> None:
    a, b = MATMUL.inputs(((M, K), (K, N)), "float32", seed=seed)
    if one_sign:  # sums that only grow lose most
        a, b = np.abs(a), np.abs(b)
    for product in (np.matmul, summed_in_order, summed_in_pairs):
        check = verify(MATMUL, (a, b), product(a, b))
        assert check.ok, check.reason


@settings(max_examples=60)
@given(st.integers(8, 24), st.integers(8, 150), st.integers(8, 24), st.integers(0, 2**32 - 1))
def test_half_precision_products_are_always_refused(M: int, K: int, N: int, seed: int) -> None:
    a, b = MATMUL.inputs(((M, K), (K, N)), "float32", seed=seed)
    halved = [x.astype(np.float16).astype(np.float32) for x in (a, b)]
    assert verify(MATMUL, (a, b), np.matmul(*halved)).fault == "value"


def test_a_scalar_of_numpy_is_an_array_without_axes() -> None:
    op = ops.get("dot")
    x, y = middling(op)
    assert verify(op, (x, y), np.float32(np.sum(x * y))).ok


# What is refused ------------------------------------------------------------------------------


# Codes of 7 bits are coarser than half precision, and what that op is about.
@pytest.mark.parametrize("name", [name for name in FLOAT_OPS if name != "quantized_linear"])
def test_half_precision_inside_is_refused(name: str) -> None:
    op = ops.get(name)
    arrays = middling(op)
    halved = tuple(
        x.astype(np.float16).astype(np.float32) if x.dtype.kind == "f" else x for x in arrays
    )
    check = verify(op, arrays, honest(op, halved))
    assert (check.ok, check.fault) == (False, "value")


@pytest.mark.parametrize("name", FLOAT_OPS)
def test_zeros_are_refused(name: str) -> None:
    op = ops.get(name)
    arrays = middling(op)
    shapes = op.output_shapes(tuple(x.shape for x in arrays))
    zeros = tuple(np.zeros(shape, np.float32) for shape in shapes)
    assert verify(op, arrays, zeros if op.outputs > 1 else zeros[0]).fault == "value"


def test_zeros_are_refused_for_wide_softmax_rows() -> None:
    # Here every probability is below the 1e-4 of a habitual tolerance.
    (x,) = SOFTMAX.inputs(((3, 10007),))
    good = honest(SOFTMAX, (x,))
    assert np.median(good) < 1e-4
    assert verify(SOFTMAX, (x,), np.zeros_like(good)).fault == "value"
    small = good.copy()
    small[small < 1e-4] = 0
    assert verify(SOFTMAX, (x,), small).fault == "value"


@pytest.mark.parametrize("name", ["matmul", "softmax", "gelu", "add"])
def test_shuffled_rows_are_refused(name: str) -> None:
    op = ops.get(name)
    arrays = middling(op)
    good = honest(op, arrays)
    assert verify(op, arrays, good[::-1].copy()).fault == "value"


@pytest.mark.parametrize("name", [name for name in FLOAT_OPS if name not in REDUCTIONS])
def test_a_wrong_last_element_is_refused(name: str) -> None:
    op = ops.get(name)
    arrays = middling(op)
    result = honest(op, arrays)
    output = first(op, result)
    last = np.unravel_index(int(np.flatnonzero(output)[-1]), output.shape)
    # Codes of 7 bits are a hundred times coarser than float32, and so is what shows among them.
    output[last] += np.abs(output).max() if name == "quantized_linear" else output[last] / 1000
    check = verify(op, arrays, result)
    assert check.fault == "value"
    assert str(tuple(map(int, last))) in check.reason
    assert "1 of" in check.reason
    assert check.worst > 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", FLOAT_OPS)
def test_one_value_that_is_not_finite_is_refused(name: str, bad: float) -> None:
    op = ops.get(name)
    arrays = middling(op)
    result = honest(op, arrays)
    output = first(op, result)
    output[(-1,) * output.ndim] = bad
    assert verify(op, arrays, result).fault == "not finite"


def test_nan_and_infinity_are_asked_for_where_the_reference_has_them() -> None:
    op = ops.get("multiply")
    x, y = np.float32([np.nan, np.inf, 2]), np.float32([1, -1, 3])
    assert verify(op, (x, y), np.float32([np.nan, -np.inf, 6])).ok
    for wrong in ([0, -np.inf, 6], [np.nan, np.inf, 6], [np.nan, np.nan, 6], [np.nan, 9e9, 6]):
        assert verify(op, (x, y), np.float32(wrong)).fault == "not finite"


def test_beyond_the_largest_number_there_is_infinity_and_nothing_else() -> None:
    op = ops.get("multiply")
    x, y = np.float32([1e20, 1e20]), np.float32([1e20, -1e20])
    assert verify(op, (x, y), np.float32([np.inf, -np.inf])).ok
    for wrong in ([np.nan, -np.inf], [np.inf, np.inf], [0, -np.inf], [1e38, -np.inf]):
        assert not verify(op, (x, y), np.float32(wrong)).ok


def test_a_masked_logit_has_probability_zero() -> None:
    x = np.float32([[1, -np.inf, 2], [0, 0, -np.inf]])
    good = honest(SOFTMAX, (x,))
    assert verify(SOFTMAX, (x,), good).ok
    leaking = good.copy()
    leaking[0, 1] = 1e-30
    assert verify(SOFTMAX, (x,), leaking).fault == "value"


A, B = MATMUL.inputs(((5, 4), (4, 3)))


@pytest.mark.parametrize(
    ("output", "fault", "words"),
    [
        ([[0.0] * 3] * 5, "type", "list"),
        (None, "type", "NoneType"),
        (np.matmul(A, B).astype(np.float64), "dtype", "expected float32, got float64"),
        (np.matmul(A, B).T, "shape", r"expected \(5, 3\), got \(3, 5\)"),
        (np.matmul(A, B)[None], "shape", r"got \(1, 5, 3\)"),
    ],
    ids=["list", "nothing", "dtype", "transposed", "axis"],
)
def test_type_dtype_and_shape(output: Any, fault: str, words: str) -> None:
    check = verify(MATMUL, (A, B), output)
    assert check.fault == fault
    with pytest.raises(VerificationError, match=words):
        check.require("matmul/mine")


def test_each_of_several_outputs_is_judged() -> None:
    op = ops.get("adam")
    arrays = middling(op)
    good = honest(op, arrays)
    assert verify(op, arrays, good).ok
    assert verify(op, arrays, good[0]).fault == "type"
    assert verify(op, arrays, good[:2]).fault == "type"
    assert verify(op, arrays, list(good)).fault == "type"
    assert verify(op, arrays, (good[0], good[1], good[2].astype(np.float64))).fault == "dtype"
    assert verify(op, arrays, (good[0], good[1][..., :2], good[2])).fault == "shape"
    check = verify(op, arrays, (good[0], good[2], good[1]))
    assert check.fault == "value"
    assert check.reason.startswith("output ")


def test_out_of_several_outputs_must_be_what_comes_back() -> None:
    op = ops.get("adam")
    arrays = middling(op)
    out = tuple(np.empty_like(a) for a in arrays[:3])

    def into(*given: Array, out: tuple[Array, ...]) -> tuple[Array, ...]:
        for target, value in zip(out, honest(op, given), strict=True):
            target[...] = value
        return out

    assert run_checked(op, into, arrays, out=out).ok
    assert run_checked(op, lambda *a, out: honest(op, a), arrays, out=out).fault == "out"
    assert run_checked(op, lambda *a: (a[0], *honest(op, a)[1:]), arrays).fault == "input returned"


def test_integers_are_exact() -> None:
    op = ops.get("int8_matmul")
    a, b = op.inputs(op.size("prime").shapes, "int8")
    good = a.astype(np.int32) @ b.astype(np.int32)
    assert verify(op, (a, b), good).ok
    good[-1, -1] += 1
    check = verify(op, (a, b), good)
    assert (check.fault, check.ok) == ("value", False)
    assert "1 of" in check.reason
    assert verify(op, (a, b), good.astype(np.int64)).fault == "dtype"


# What a call does besides ---------------------------------------------------------------------


def writes_input(a: Array, b: Array) -> Array:
    result = np.asarray(a @ b)
    b[-1, -1] += 1
    return result


def fills_input_with_nan(a: Array, b: Array) -> Array:
    result = np.asarray(a @ b)
    a.fill(np.nan)
    return result


@pytest.mark.parametrize("kernel", [writes_input, fills_input_with_nan])
def test_written_inputs_are_refused(kernel: Callable[..., Array]) -> None:
    check = run_checked(MATMUL, kernel, (A.copy(), B.copy()))
    assert check.fault == "input written"


def test_out_must_be_what_comes_back() -> None:
    out = np.empty((5, 3), np.float32)
    assert run_checked(MATMUL, np.matmul, (A, B), out=out).ok
    ignoring = run_checked(MATMUL, lambda a, b, out: a @ b, (A, B), out=out)
    assert ignoring.fault == "out"


def test_an_input_is_no_result() -> None:
    op = ops.get("relu")
    x = np.float32([1, 2, 3])
    assert run_checked(op, lambda x: x, (x,)).fault == "input returned"
    assert run_checked(op, lambda x: x[:], (x,)).fault == "input returned"
    assert run_checked(op, lambda x: x.copy(), (x,)).ok
    assert run_checked(op, lambda x, out: np.maximum(x, 0, out=out), (x,), out=x).ok


def test_require_passes_a_good_check_on() -> None:
    check = verify(MATMUL, (A, B), np.matmul(A, B))
    assert check.require("matmul") is check
