from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinytorch import backends, ops
from tinytorch.backends import builtin, get_backend, set_backend, use_backend
from tinytorch.backends.auto import UNTUNED_ORDER, AutoBackend
from tinytorch.backends.base import ComputeBackend
from tinytorch.backends.tuning import Table
from tinytorch.errors import (
    InvalidValue,
    ShapeError,
    UnknownName,
    UnsupportedInput,
    VerificationError,
)
from tinytorch.kernels import registry
from tinytorch.kernels.registry import Kernel
from tinytorch.native import threads
from tinytorch.ops.spec import Array, Params
from tinytorch.ops.verify import verify

LARGE, SMALL = 1 << 20, 64


def arrays_of(op: str, elements: int, dtype: str = "float32") -> tuple[Array, ...]:
    side = int(elements**0.5)
    shape = (elements,) if op != "softmax" and "matmul" not in op else (side, side)
    described = ops.get(op)
    # The blocks of the one must name columns that are there; the others take three axes.
    if op in ("sparse_linear", "channel_moments", "batch_norm", "batch_norm_gradient"):
        return described.inputs(described.ladder[-1].shapes, dtype)
    kinds = (np.int64 if i in described.indices else dtype for i in range(described.arity))
    return tuple(np.ones(shape, kind) for kind in kinds)


def chosen(backend: str, op: str, elements: int) -> str:
    arrays = arrays_of(op, elements, ops.get(op).dtypes[0])
    return backends.get(backend).choose(op, arrays, {}).name


class Recording(ComputeBackend):
    """Counts how often it is asked to choose."""

    def __init__(self, rung: str = "library") -> None:
        super().__init__("recording")
        self.asked: list[tuple[str, tuple[Array, ...], Params]] = []
        self.rung = rung

    def choose(self, op: str, arrays: tuple[Array, ...], params: Params) -> Kernel:
        self.asked.append((op, arrays, params))
        return super().choose(op, arrays, params)

    def rungs(self, op: str) -> tuple[Kernel, ...]:
        return (registry.get(op, self.rung),)


# The fixed choices ----------------------------------------------------------------------------

ALWAYS = [
    *(("naive", op, "naive") for op in ops.names()),
    ("blocked", "matmul", "blocked"),
    ("blocked", "gelu", "unfused"),
    ("blocked", "softmax", "unfused"),
    ("blocked", "add", "vectorised"),
    ("blocked", "dot", "vectorised"),
    ("numpy", "matmul", "library"),
    ("numpy", "dot", "library"),
    ("numpy", "gelu", "inplace"),
    ("numpy", "relu", "inplace"),
    ("numpy", "softmax", "inplace"),
    ("numpy", "add", "inplace"),
    ("numpy", "euclidean_distance", "vectorised"),
    ("numpy", "int8_matmul", "vectorised"),
]


@pytest.mark.parametrize(("backend", "op", "rung"), ALWAYS)
def test_fixed_choices(backend: str, op: str, rung: str) -> None:
    assert chosen(backend, op, SMALL) == chosen(backend, op, LARGE) == rung


@pytest.mark.parametrize(
    ("op", "small", "large"),
    [
        ("matmul", "packed", "packed"),
        ("gelu", "fused", "parallel"),
        ("softmax", "fused", "fused"),
        ("add", "compiled", "parallel"),
        ("squared_difference", "fused", "fused"),
        ("dot", "compiled", "parallel"),
    ],
)
def test_native_takes_threads_where_they_pay(op: str, small: str, large: str) -> None:
    assert chosen("native", op, SMALL) == small
    assert chosen("native", op, LARGE) == large


def test_native_leaves_to_numpy_what_no_compiled_kernel_takes() -> None:
    native = backends.get("native")
    x, y = np.ones((3, 4), np.float32), np.ones(4, np.float32)
    assert native.choose("add", (x, y), {}).name == "inplace"
    assert np.array_equal(native.dispatch("add", x, y), x + y)


@pytest.mark.parametrize("op", ops.names())
def test_untuned_auto_takes_the_first_of_its_order(op: str, tmp_path: Path) -> None:
    auto = AutoBackend(Table(tmp_path / "none"))
    arrays = arrays_of(op, LARGE, ops.get(op).dtypes[0])
    expected = next(name for name in UNTUNED_ORDER if name in registry.rung_names(op))
    assert auto.choose(op, arrays, {}).name == expected


@pytest.mark.parametrize("backend", ["naive", "blocked", "numpy", "native", "auto"])
@pytest.mark.parametrize("op", ops.names())
def test_every_backend_computes_every_op(op: str, backend: str) -> None:
    described = ops.get(op)
    for params in described.variants:
        for dtype in described.dtypes:
            named = [size for size in described.sizes if size.name == "odd"]
            arrays = described.inputs((named or described.sizes)[0].shapes, dtype)
            result = backends.get(backend).dispatch(op, *arrays, **params)
            assert verify(described, arrays, result, params).ok


def test_null_computes_nothing_of_the_right_shape() -> None:
    null = backends.get("null")
    result = null.dispatch("matmul", np.ones((3, 4), np.float32), np.ones((4, 5), np.float32))
    assert (result.shape, result.dtype) == ((3, 5), np.float32)
    codes = np.ones((2, 2), np.int8)
    assert null.dispatch("int8_matmul", codes, codes).dtype == np.int32
    out = np.full((3, 3), 7.0)
    assert null.dispatch("add", np.ones((3, 3)), np.ones((3, 3)), out=out) is out
    assert (out == 7).all()
    with pytest.raises(ShapeError):
        null.dispatch("matmul", np.ones((3, 4)), np.ones((3, 4)))


# Which one is current -------------------------------------------------------------------------


def test_auto_is_current_at_start() -> None:
    assert get_backend().name == "auto"


def test_set_backend_holds_for_every_thread() -> None:
    assert set_backend("numpy") is get_backend() is builtin.NUMPY
    assert in_thread(get_backend) is builtin.NUMPY


def in_thread(function: Any) -> Any:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def test_use_backend_nests_and_ends() -> None:
    set_backend("blocked")
    with use_backend("numpy") as outer:
        assert get_backend() is outer is builtin.NUMPY
        with use_backend("naive"):
            assert get_backend() is builtin.NAIVE
        assert get_backend() is builtin.NUMPY
    assert get_backend() is builtin.BLOCKED


def test_use_backend_ends_with_an_exception() -> None:
    before = get_backend()
    with pytest.raises(ZeroDivisionError), use_backend("naive"):
        raise ZeroDivisionError
    assert get_backend() is before
    with pytest.raises(UnknownName), use_backend("numby"):
        pass
    assert get_backend() is before


def test_use_backend_is_of_its_thread_alone() -> None:
    set_backend("blocked")
    with use_backend("numpy"):
        assert in_thread(get_backend) is builtin.BLOCKED
        set_backend("naive")  # for the others
        assert get_backend() is builtin.NUMPY
        assert in_thread(get_backend) is builtin.NAIVE
    assert get_backend() is builtin.NAIVE


def test_two_threads_use_two_backends_at_once() -> None:
    meet = threading.Barrier(2, timeout=30)

    def using(name: str) -> Iterator[str]:
        with use_backend(name):
            meet.wait()
            yield get_backend().name
            meet.wait()
        yield get_backend().name

    found: dict[str, list[str]] = {}
    workers = [
        threading.Thread(target=lambda n=name: found.update({n: list(using(n))}))
        for name in ("naive", "numpy")
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == {"naive": ["naive", "auto"], "numpy": ["numpy", "auto"]}


def test_an_object_is_a_backend_too() -> None:
    mine = Recording()
    with use_backend(mine):
        assert get_backend() is mine
    assert repr(mine) == "<backend recording>"


def test_names() -> None:
    assert {"auto", "naive", "blocked", "numpy", "native", "null"} <= set(backends.names())
    for name in backends.names():
        assert backends.get(name).name == name
        assert backends.get(name).summary


@pytest.mark.parametrize("choose", [set_backend, backends.get])
def test_an_unknown_name_is_one_line_with_the_nearest(choose: Any) -> None:
    with pytest.raises(UnknownName, match="unknown backend 'numby': did you mean 'numpy'") as error:
        choose("numby")
    assert "\n" not in str(error.value)
    assert "native" in str(error.value)
    with pytest.raises(InvalidValue, match="given by its name, got int"):
        choose(3)


def test_the_switch_chooses_the_first_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYTORCH_BACKEND", "blocked")
    assert get_backend() is builtin.BLOCKED


def test_a_wrong_switch_is_named_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYTORCH_BACKEND", "numby")
    with pytest.raises(UnknownName, match="did you mean 'numpy'"):
        get_backend()
    with use_backend("numpy"):  # chosen in words, so the switch does not matter
        assert get_backend().name == "numpy"


def test_the_numpy_backend_never_loads_numba() -> None:
    program = (
        "import sys, numpy as np\n"
        "import tinytorch\n"
        "with tinytorch.use_backend('numpy'):\n"
        "    x = np.ones((8, 8), np.float32)\n"
        "    for op, n in (('matmul', 2), ('gelu', 1), ('softmax', 1), ('dot', 2)):\n"
        "        tinytorch.get_backend().dispatch(op, *[x] * n)\n"
        "sys.exit('numba' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# Dispatch: what is remembered -----------------------------------------------------------------


def test_a_choice_is_made_once_for_calls_alike() -> None:
    backend = Recording()
    a, b = np.ones((3, 4)), np.ones((4, 5))
    for _ in range(3):
        backend.dispatch("matmul", a, b)
    backend.dispatch("matmul", a + 1, b + 1)
    assert len(backend.asked) == 1
    backend.forget()
    backend.dispatch("matmul", a, b)
    assert len(backend.asked) == 2


A = np.arange(16.0).reshape(4, 4)
DIFFERENT = {
    "shape": (np.ones((5, 4)), A),
    "other shape": (A, np.ones((4, 5))),
    "strides": (A.T, A),
    "other strides": (A, np.asfortranarray(A)),
    "negative strides": (A[::-1], A),
    "dtype": (A.astype(np.float32), A.astype(np.float32)),
    "other dtype": (A, A.astype(np.float32)),
    "kind": (A.astype(np.int64), A),  # of one width
    "other kind": (A, A.astype(np.int64)),
    "axes": (A[None], A),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_another_signature_is_another_choice(what: str) -> None:
    backend = Recording()
    backend.dispatch("matmul", A, A)
    a, b = DIFFERENT[what]
    result = backend.dispatch("matmul", a, b)
    assert len(backend.asked) == 2
    assert np.allclose(result, a @ b)
    assert np.array_equal(backend.dispatch("matmul", A, A), A @ A)
    assert len(backend.asked) == 2


def test_other_params_are_another_choice() -> None:
    backend = Recording("inplace")
    x = np.linspace(-2, 2, 9, dtype=np.float32)
    by_tanh = backend.dispatch("gelu", x)
    by_erf = backend.dispatch("gelu", x, approximate="none")
    again = backend.dispatch("gelu", x, approximate="none")
    assert not np.array_equal(by_tanh, by_erf)
    assert np.array_equal(by_erf, again)
    assert len(backend.asked) == 2


def test_another_number_of_threads_is_another_choice() -> None:
    backend = Recording()
    backend.dispatch("matmul", A, A)
    if threads.usable_cpus() == 1:
        pytest.skip("there is one CPU to share")
    with threads.use_threads(1):
        backend.dispatch("matmul", A, A)
    assert len(backend.asked) == 2


def test_choices_of_two_ops_of_one_signature_are_two() -> None:
    backend = backends.get("numpy")
    assert np.array_equal(backend.dispatch("add", A, A), A + A)
    assert np.array_equal(backend.dispatch("multiply", A, A), A * A)


def test_subclasses_and_scalars_are_computed_as_plain_arrays() -> None:
    backend = backends.get("blocked")
    plain = backend.dispatch("multiply", A, A)
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix(A)
    masked = np.ma.masked_array(A, mask=A > 3)
    for odd in (matrix, masked):
        for pair in ((odd, odd), (odd, A), (A, odd)):
            result = backend.dispatch("multiply", *pair)
            assert type(result) is np.ndarray
            assert np.array_equal(result, plain)
    curve = backend.dispatch("gelu", A)
    assert np.array_equal(backend.dispatch("gelu", matrix), curve)
    backend.dispatch("add", np.array(2.0), np.array(3.0))
    assert backend.dispatch("add", np.float64(2), np.float64(3)) == 5


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinytorch.backends.base._MOST_REMEMBERED", 8)
    backend = Recording("inplace")
    for n in range(50):
        assert backend.dispatch("relu", np.ones(n)).shape == (n,)
    assert len(backend._chosen) <= 8


# Dispatch: what goes in and out ---------------------------------------------------------------


@pytest.mark.parametrize("backend", ["naive", "numpy", "auto", "native"])
def test_lists_are_taken(backend: str) -> None:
    for _ in range(2):  # chosen anew, and remembered
        result = backends.get(backend).dispatch("matmul", [[1.0, 2.0]], [[3.0], [4.0]])
        assert result.tolist() == [[11.0]]
    mixed = backends.get(backend).dispatch("add", np.float64([1, 2]), [3.0, 4.0])
    assert mixed.tolist() == [4, 6]


@pytest.mark.parametrize("backend", ["naive", "numpy", "auto", "native", "null"])
def test_out_is_written_and_returned(backend: str) -> None:
    used = backends.get(backend)
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    for _ in range(2):
        out = np.full((3, 4), 113, np.float32)
        assert used.dispatch("relu", x, out=out) is out
        if backend != "null":
            assert np.array_equal(out, np.maximum(x, 0))


def test_out_does_not_change_what_is_remembered() -> None:
    used = backends.get("numpy")
    out = np.empty_like(A)
    used.dispatch("matmul", A, A, out=out)
    fresh = used.dispatch("matmul", A, A)
    assert fresh is not out
    assert not np.shares_memory(fresh, out)


WRONG: dict[str, tuple[str, tuple[Any, ...], dict[str, Any], type[Exception], str]] = {
    "op": ("matmull", (A, A), {}, UnknownName, "did you mean 'matmul'"),
    "too few": ("matmul", (A,), {}, InvalidValue, r"takes 2 array\(s\).*got 1"),
    "too many": ("relu", (A, A), {}, InvalidValue, r"takes 1 array\(s\).*got 2"),
    "none": ("relu", (), {}, InvalidValue, "got 0"),
    "shapes": ("matmul", (A, np.ones((3, 4))), {}, ShapeError, "shape mismatch"),
    "words": ("relu", (["a", "b"],), {}, InvalidValue, "takes numbers, got an array of <U1"),
    "nothing": ("relu", (None,), {}, InvalidValue, "takes numbers, got an array of object"),
    "ragged": ("relu", ([[1, 2], [3]],), {}, InvalidValue, "regular shape"),
    "params": ("relu", (A,), {"alpha": 3}, InvalidValue, "does not take the parameters.*alpha"),
    "value": ("gelu", (A,), {"approximate": "erf"}, InvalidValue, "'tanh' or 'none'"),
    "unhashable": ("gelu", (A,), {"approximate": []}, InvalidValue, "."),
    "dtype": ("gelu", (A.astype(int),), {}, UnsupportedInput, "backend 'numpy' has no kernel"),
    "complex": ("softmax", (A * 1j,), {}, UnsupportedInput, "got complex128"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_calls_are_one_clear_line(what: str) -> None:
    op, arrays, params, error, words = WRONG[what]
    with pytest.raises(error, match=words) as caught:
        backends.get("numpy").dispatch(op, *arrays, **params)
    assert isinstance(caught.value, ValueError)


def test_an_error_inside_a_kernel_is_not_taken_for_a_new_signature() -> None:
    calls: list[int] = []

    def failing(x: Array, out: Array | None = None) -> Array:
        calls.append(1)
        raise KeyError("from the kernel")

    class Failing(ComputeBackend):
        def rungs(self, op: str) -> tuple[Kernel, ...]:
            return (Kernel(op=op, name="failing", function=failing),)

    backend = Failing("failing")
    for attempt in (1, 2):
        with pytest.raises(KeyError, match="from the kernel"):
            backend.dispatch("relu", A)
        assert len(calls) == attempt


def test_a_backend_without_kernels_says_so() -> None:
    class Empty(ComputeBackend):
        def rungs(self, op: str) -> tuple[Kernel, ...]:
            return ()

    with pytest.raises(UnsupportedInput, match=r"'empty' has no kernel of relu .* none at all"):
        Empty("empty").dispatch("relu", A)


# A user's own file ----------------------------------------------------------------------------

HEAD = "import numpy as np\nfrom tinytorch.kernels.registry import kernel\n\n"
RELU = "@kernel('relu')\ndef mine(x, out=None):\n    {}\n"
GOOD = HEAD + RELU.format("return np.maximum(x, 0, out=np.empty_like(x) if out is None else out)")


def test_a_good_file_is_a_backend(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(GOOD)
    with use_backend(str(path)) as mine:
        assert mine.name == "mine"
        x = np.float32([-1, 2])
        assert mine.choose("relu", (x,), {}).source == path
        assert get_backend().dispatch("relu", x).tolist() == [0, 2]
        assert mine.choose("matmul", (A, A), {}).name == "library"  # numpy's for the rest
        assert np.array_equal(get_backend().dispatch("matmul", A, A), A @ A)


def test_relative_and_home_paths_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME" if os.name != "nt" else "USERPROFILE", str(tmp_path))
    assert backends.get("mine.py").name == "mine"
    assert backends.get("~/mine.py").name == "mine"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return np.maximum(x, 1)", "value"),
        ("return np.where(x > 0, x, 0)", "out="),
        ("raise RuntimeError('no luck')", "raised RuntimeError: no luck"),
        ("x[...] = 0\n    return x", "input"),
        ("return None", "type"),
    ],
)
def test_a_wrong_file_is_refused_before_it_is_used(body: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(HEAD + RELU.format(body))
    before = get_backend()
    with pytest.raises(VerificationError, match=words) as caught:
        set_backend(str(path))
    assert "mine.py" in str(caught.value) and "relu/mine" in str(caught.value)
    assert get_backend() is before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no kernel file at"),
        ("x = 1\n", "defines no kernel"),
        ("1 / 0\n", "failed to run: ZeroDivisionError"),
    ],
)
def test_a_file_that_is_none_is_refused(text: str | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InvalidValue, match=words):
        backends.get(str(path))


def test_a_kernel_that_takes_nothing_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from tinytorch.kernels.registry import Support, kernel\n"
        "@kernel('relu', support=Support('nothing', lambda arrays: False))\n"
        "def mine(x, out=None):\n    return x\n"
    )
    with pytest.raises(VerificationError, match="nothing was checked"):
        backends.get(str(path))


def test_what_a_file_does_not_take_goes_to_numpy(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(GOOD.replace("@kernel('relu')", "@kernel('relu', dtypes=('float32',))"))
    mine = backends.get(str(path))
    assert mine.choose("relu", (np.ones(3, np.float32),), {}).name == "mine"
    assert mine.choose("relu", (np.ones(3),), {}).name == "inplace"
