"""Kernels that are wrong on purpose: the conformance run must find each, and say what it found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinytorch.kernels import conformance
from tinytorch.kernels.conformance import Case
from tinytorch.kernels.registry import FLOATS, Kernel, Support
from tinytorch.ops.spec import Array


def cases(function: Callable[..., Any], op: str = "matmul", **options: Any) -> list[Case]:
    planted = Kernel(op=op, name=function.__name__, function=function, **options)
    return list(conformance.run(planted))


def faults(function: Callable[..., Any], op: str = "matmul", **options: Any) -> Counter[str]:
    return Counter(c.check.fault for c in cases(function, op, **options) if not c.check.ok)


def given(result: Any, out: Array | None) -> Any:
    """Put a result where a kernel should: into `out` where there is one."""
    if out is None:
        return result
    out[...] = result
    return out


def right(a: Array, b: Array, out: Array | None = None) -> Array:
    return np.matmul(a, b, out=out)


def right_relu(x: Array, out: Array | None = None) -> Array:
    return np.maximum(x, 0, out=np.empty_like(x) if out is None else out)


def test_right_kernels_pass_everything() -> None:
    assert faults(right) == {}
    assert faults(right_relu, "relu") == {}
    assert all(case.refused is None for case in cases(right))


# Wrong values ---------------------------------------------------------------------------------


def returns_nan(a: Array, b: Array, out: Array | None = None) -> Array:
    result = np.matmul(a, b)
    if result.size:
        result[(0,) * result.ndim] = np.nan
    return given(result, out)


def test_nan() -> None:
    assert set(faults(returns_nan)) == {"not finite"}


def ignores_the_last_partial_tile(a: Array, b: Array, out: Array | None = None) -> Array:
    tile = 8
    whole = a.shape[-2] - a.shape[-2] % tile
    result = right(a, b) * 0 if out is None else out
    result[..., :whole, :] = np.matmul(a[..., :whole, :], b)
    return result


def test_ignored_last_partial_tile() -> None:
    found = [c for c in cases(ignores_the_last_partial_tile) if not c.check.ok]
    assert {c.check.fault for c in found} == {"value"}
    sizes = {c.size for c in found}
    assert {"odd", "prime", "partial-tile", "row", "tall"} <= sizes
    assert "square" not in sizes  # 32 is four whole tiles
    assert {c.with_out for c in found} == {False, True}


def leaves_memory_unwritten(a: Array, b: Array, out: Array | None = None) -> Array:
    whole = a.shape[-2] - a.shape[-2] % 8
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    result = np.empty((*batch, a.shape[-2], b.shape[-1]), a.dtype)
    result[..., :whole, :] = np.matmul(a[..., :whole, :], b)
    return given(result, out)


def test_unwritten_memory() -> None:
    found = cases(leaves_memory_unwritten)
    assert {c.check.fault for c in found if not c.check.ok} <= {"value", "not finite"}
    wrong = {c.size for c in found if not c.check.ok}
    assert {"odd", "prime", "partial-tile", "tall"} <= wrong


def half_precision_inside(a: Array, b: Array, out: Array | None = None) -> Array:
    halved = (x.astype(np.float16).astype(x.dtype) for x in (a, b))
    return given(np.matmul(*halved), out)


def test_half_precision_inside() -> None:
    found = cases(half_precision_inside)
    assert {c.check.fault for c in found if not c.check.ok} == {"value"}
    passed = {c.size for c in found if c.check.ok}
    assert passed <= {"one", "empty-m", "empty-k"}


def single_precision_inside(a: Array, b: Array, out: Array | None = None) -> Array:
    return given(np.matmul(a.astype(np.float32), b.astype(np.float32)).astype(a.dtype), out)


def test_single_precision_inside_fails_float64_alone() -> None:
    found = [c for c in cases(single_precision_inside) if not c.check.ok]
    assert {(c.dtype, c.check.fault) for c in found} == {("float64", "value")}


def right_only_for_square_shapes(a: Array, b: Array, out: Array | None = None) -> Array:
    n = a.shape[-1]
    result = np.empty((*np.matmul(a, b).shape[:-2], n, n), a.dtype)
    result[...] = np.matmul(a, b)
    return given(result, out)


def test_right_only_for_square_shapes() -> None:
    found = cases(right_only_for_square_shapes)
    assert {c.check.fault for c in found if not c.check.ok} <= {"raised", "shape"}
    assert {c.size for c in found if c.check.ok} <= {"one", "square", "empty-m", "empty-k"}
    assert all(c.check.ok for c in found if c.size == "square")


def transposed_result(a: Array, b: Array, out: Array | None = None) -> Array:
    return given(np.matmul(a, b).swapaxes(-1, -2), out)


def test_transposed_result_is_a_wrong_shape_and_wrong_values_where_square() -> None:
    assert faults(transposed_result)["shape"] > 0
    squares = [c for c in cases(transposed_result) if c.size == "square"]
    assert {c.check.fault for c in squares} == {"value"}


def reads_in_memory_order(a: Array, b: Array, out: Array | None = None) -> Array:
    """Takes every array for C-contiguous, as a loop over a raw pointer would."""
    wrong = a.ravel(order="K").reshape(a.shape)
    return given(np.matmul(wrong, b), out)


def test_layouts() -> None:
    found = [c for c in cases(reads_in_memory_order) if not c.check.ok]
    assert {c.check.fault for c in found} == {"value"}
    assert "F" in {c.layout for c in found}
    assert "C" not in {c.layout for c in found}


# Wrong manners --------------------------------------------------------------------------------


def writes_its_input(a: Array, b: Array, out: Array | None = None) -> Array:
    result = np.matmul(a, b, out=out)
    a *= 2
    return result


def test_written_input() -> None:
    assert set(faults(writes_its_input)) == {"input written"}


def wrong_dtype(a: Array, b: Array, out: Array | None = None) -> Array:
    return np.matmul(a, b).astype(np.float64) if out is None else np.matmul(a, b, out=out)


def test_wrong_dtype() -> None:
    found = [c for c in cases(wrong_dtype) if not c.check.ok]
    assert {(c.dtype, c.check.fault) for c in found} == {("float32", "dtype")}


def ignores_out(a: Array, b: Array, out: Array | None = None) -> Array:
    return np.matmul(a, b)


def test_ignored_out() -> None:
    found = [c for c in cases(ignores_out) if not c.check.ok]
    assert {(c.with_out, c.check.fault) for c in found} == {(True, "out")}


def adds_to_out(a: Array, b: Array, out: Array | None = None) -> Array:
    if out is None:
        return np.matmul(a, b)
    out += np.matmul(a, b)
    return out


def test_adding_to_what_was_in_out() -> None:
    found = [c for c in cases(adds_to_out) if not c.check.ok]
    assert {(c.with_out, c.check.fault) for c in found} == {(True, "value")}


def ignores_params(x: Array, out: Array | None = None, approximate: str = "tanh") -> Array:
    curve = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x * x * x))
    return given((0.5 * x * (1 + curve)).astype(x.dtype), out)


def test_ignored_params() -> None:
    with np.errstate(all="ignore"):
        found = [c for c in cases(ignores_params, "gelu") if not c.check.ok]
    assert {c.params for c in found} == {"approximate=none"}
    assert {c.check.fault for c in found} == {"value"}


def returns_its_input(x: Array, out: Array | None = None) -> Array:
    if out is None and not (x < 0).any():
        return x
    return right_relu(x, out)


def test_returning_the_input_where_nothing_changes() -> None:
    # The suite's only inputs without a negative value are those of one element.
    assert set(faults(returns_its_input, "relu")) <= {"input returned"}

    def always(x: Array, out: Array | None = None) -> Array:
        return x if out is None else right_relu(x, out)

    assert faults(always, "relu")["input returned"] > 0


def test_a_kernel_that_fails_is_a_failed_case_and_not_a_crash() -> None:
    def fails(a: Array, b: Array, out: Array | None = None) -> Array:
        raise MemoryError("no room")

    found = cases(fails)
    assert {c.check.fault for c in found} == {"raised"}
    assert "MemoryError: no room" in str(found[0])

    broken = Support("anything", lambda arrays: arrays[0].shape[7] > 0)
    assert set(faults(right, support=broken)) == {"raised"}


# What outlives a call -------------------------------------------------------------------------


def test_one_buffer_for_every_result() -> None:
    buffers: dict[Any, Array] = {}

    def reuses_its_output(a: Array, b: Array, out: Array | None = None) -> Array:
        result = np.matmul(a, b)
        if out is None:
            out = buffers.setdefault((result.shape, result.dtype), result)
        return given(result, out)

    found = [c for c in cases(reuses_its_output) if not c.check.ok]
    assert {c.check.fault for c in found} == {"stale"}
    assert "earlier" in found[0].check.reason


@pytest.mark.parametrize(
    "key",
    [
        lambda a, b: (a.shape, b.shape, a.dtype),
        lambda a, b: (id(a), id(b)),
        lambda a, b: (a.ctypes.data, b.ctypes.data, a.shape, b.shape),
    ],
    ids=["shape", "object", "address"],
)
def test_results_remembered_from_an_earlier_call(key: Callable[..., Any]) -> None:
    known: dict[Any, Any] = {}

    def remembers(a: Array, b: Array, out: Array | None = None) -> Array:
        kept = known.setdefault(key(a, b), (a, b, np.matmul(a, b)))
        return given(kept[2], out) if out is not None else kept[2].copy()

    found = [c for c in cases(remembers) if not c.check.ok]
    assert {c.check.fault for c in found} == {"value"}
    assert any("second call" in c.check.reason for c in found)


# Special values -------------------------------------------------------------------------------


def loses_nan(x: Array, out: Array | None = None) -> Array:
    return given(np.where(x > 0, x, x.dtype.type(0)), out)


def test_specials_find_a_relu_that_loses_nan() -> None:
    found = [c for c in cases(loses_nan, "relu") if not c.check.ok]
    assert {(c.size, c.check.fault) for c in found} == {("specials", "not finite")}


def overflows(x: Array, out: Array | None = None, approximate: str = "tanh") -> Array:
    if approximate == "none":
        return given(np.full_like(x, np.nan), out)
    z = np.sqrt(2 / np.pi) * (x + 0.044715 * x * x * x)
    powers = np.exp(2 * z)
    return given((0.5 * x * (1 + (powers - 1) / (powers + 1))).astype(x.dtype), out)


def test_specials_find_a_gelu_that_overflows() -> None:
    with np.errstate(all="ignore"):
        found = [c for c in cases(overflows, "gelu", dtypes=FLOATS) if not c.check.ok]
    specials = [c for c in found if c.size == "specials" and c.params == "approximate=tanh"]
    assert {c.check.fault for c in specials} == {"not finite"}


def test_a_refused_case_is_not_run() -> None:
    def never(a: Array, b: Array, out: Array | None = None) -> Array:
        raise AssertionError("called on what it refuses")

    found = cases(never, support=Support("nothing", lambda arrays: False))
    assert {c.refused for c in found} == {"takes nothing"}
    assert all(c.check.ok for c in found)
