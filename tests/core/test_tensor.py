from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest

from tinytorch import Tensor, use_backend
from tinytorch.backends import builtin
from tinytorch.backends.base import ComputeBackend
from tinytorch.core.tensor import accepts_tensors
from tinytorch.errors import InvalidValue, ShapeError
from tinytorch.ops.spec import Array

X = np.float32([[1, -2, 3], [4, 5, -6]])
Y = np.float32([[2, 2, 0.5], [-1, 4, 3]])
ROW = np.float32([10, 20, 30])


class Recording(ComputeBackend):
    """NumPy's choices, with a list of what was dispatched."""

    def __init__(self) -> None:
        super().__init__("recording")
        self.calls: list[tuple[str, tuple[tuple[int, ...], ...], dict[str, Any]]] = []

    def dispatch(self, op: str, *arrays: Any, out: Array | None = None, **params: Any) -> Array:
        self.calls.append((op, tuple(a.shape for a in arrays), params))
        return builtin.NUMPY.dispatch(op, *arrays, out=out, **params)


# Making one -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data", [3, 2.5, True, [1, 2], [[1.5], [2.5]], np.arange(3), np.eye(2), np.float64(2), []]
)
def test_whatever_it_was_it_is_float32(data: Any) -> None:
    tensor = Tensor(data)
    assert tensor.dtype == np.float32
    assert np.array_equal(tensor.data, np.asarray(data, np.float32))
    assert isinstance(tensor.data, np.ndarray)


def test_another_dtype_can_be_asked_for() -> None:
    assert Tensor([1, 2], dtype=np.int64).dtype == np.int64
    assert Tensor([1, 2], dtype="float64").dtype == np.float64
    assert Tensor(X, dtype=np.dtype("float16")).dtype == np.float16
    assert Tensor([1.5]).astype(np.int32).tolist() == [1]


def test_an_array_of_the_right_type_is_not_copied() -> None:
    assert Tensor(X).data is X
    assert Tensor(Tensor(X)).data is X
    assert Tensor(X).numpy() is X


def test_a_list_of_tensors_is_taken() -> None:
    assert Tensor([Tensor(1), Tensor(2)]).tolist() == [1, 2]
    assert Tensor([Tensor([1, 2]), Tensor([3, 4])]).shape == (2, 2)


@pytest.mark.parametrize(
    "data", [[[1, 2], [3]], "3", ["a"], None, [None], {}, object(), 1j, np.array([1j])]
)
def test_what_is_not_numbers_is_refused(data: Any) -> None:
    with pytest.raises(InvalidValue, match=f"made of numbers.*{type(data).__name__}"):
        Tensor(data)


def test_gradients_are_of_floats() -> None:
    assert Tensor(X, requires_grad=True).requires_grad
    assert not Tensor(X).requires_grad
    with pytest.raises(InvalidValue, match="int64"):
        Tensor([1, 2], requires_grad=True, dtype=np.int64)


def test_what_it_says_about_itself() -> None:
    tensor = Tensor(X)
    assert (tensor.shape, tensor.size, tensor.ndim, len(tensor)) == ((2, 3), 6, 2, 2)
    assert tensor.memory_footprint() == 24
    assert "1." in repr(tensor) and "shape=(2, 3)" in repr(tensor) and "float32" in repr(tensor)
    assert len(repr(Tensor(np.zeros((1000, 1000))))) < 1000
    assert tensor.tolist() == X.tolist()
    assert np.array_equal(np.asarray(tensor), X)
    with pytest.raises(InvalidValue, match="has no length"):
        len(Tensor(3))


def test_one_element_is_a_number() -> None:
    assert Tensor([[2.5]]).item() == 2.5
    assert type(Tensor(2.5).item()) is float
    assert float(Tensor(2.5)) == 2.5
    with pytest.raises(ShapeError, match=r"exactly one element, got shape \(2, 3\)"):
        Tensor(X).item()


def test_truth_is_of_one_element() -> None:
    assert Tensor(3) > 2
    assert not Tensor([0.0])
    with pytest.raises(InvalidValue, match=r"\(2, 3\) is neither true nor false"):
        bool(Tensor(X) == X)


# Arithmetic -----------------------------------------------------------------------------------

ARITHMETIC = [
    operator.add,
    operator.sub,
    operator.mul,
    operator.truediv,
    operator.pow,
    operator.eq,
    operator.ne,
    operator.lt,
    operator.le,
    operator.gt,
    operator.ge,
]
POSITIVE = np.abs(X)


@pytest.mark.parametrize("operation", ARITHMETIC, ids=lambda o: o.__name__)
@pytest.mark.parametrize(
    "other", [Y, ROW, Y[:, :1], np.float32(2), 2, 2.5, ROW.astype(np.float64)], ids=str
)
def test_arithmetic_is_numpys_from_both_sides(operation: Any, other: Any) -> None:
    like = np.asarray(other, np.float32)
    for left, right, expected in (
        (Tensor(POSITIVE), other, operation(POSITIVE, like)),
        (other, Tensor(POSITIVE), operation(like, POSITIVE)),
        (Tensor(POSITIVE), Tensor(other), operation(POSITIVE, like)),
    ):
        result = operation(left, right)
        assert isinstance(result, Tensor)
        assert result.dtype == expected.dtype
        assert np.array_equal(result.data, expected)


def test_lists_take_part() -> None:
    assert (Tensor([1, 2]) * [3, 4]).tolist() == [3, 8]
    assert ([3, 4] - Tensor([1, 2])).tolist() == [2, 2]


def test_negation_leaves_the_tensor_alone() -> None:
    tensor = Tensor(X.copy())
    assert np.array_equal((-tensor).data, -X)
    assert np.array_equal(tensor.data, X)


def test_dtypes_meet_as_in_numpy() -> None:
    single, double = Tensor([1, 2]), Tensor([1, 2], dtype=np.float64)
    whole = Tensor([1, 2], dtype=np.int64)
    assert (single + double).dtype == np.float64
    assert (double * 2).dtype == np.float64
    assert (single * np.float64(2)).dtype == np.float32
    assert (whole + 1).dtype == np.int64
    assert (whole + np.array([2**53 + 1])).tolist() == [2**53 + 2, 2**53 + 3]
    assert (whole + 0.5).dtype == np.float64
    assert (whole == np.array([1, 3])).tolist() == [True, False]


def test_equality_with_nothing_is_false_and_not_an_error() -> None:
    assert (Tensor(X) == None) is False  # noqa: E711
    assert (Tensor(X) != None) is True  # noqa: E711
    assert hash(Tensor(X)) != hash(Tensor(X))


@pytest.mark.parametrize("operation", ARITHMETIC, ids=lambda o: o.__name__)
def test_shapes_that_do_not_broadcast_are_both_named(operation: Any) -> None:
    with pytest.raises(ShapeError, match=r"\(2, 3\) and \(2,\)"):
        operation(Tensor(X), Tensor([1, 2]))


# Products -------------------------------------------------------------------------------------

SHAPES = [
    ((2, 3), (3, 4)),
    ((3,), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3,)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 4)),
    ((5, 2, 3), (3, 4)),
    ((5, 1, 2, 3), (6, 3, 4)),
    ((2, 0), (0, 3)),
    ((0,), (0,)),
]


@pytest.mark.parametrize(("a", "b"), SHAPES)
def test_products_have_numpys_shapes_and_values(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(a, np.float32), rng.standard_normal(b, np.float32)
    expected = np.matmul(x, y)
    for result in (Tensor(x) @ Tensor(y), Tensor(x) @ y, x @ Tensor(y), Tensor(x).matmul(y)):
        assert isinstance(result, Tensor)
        assert result.shape == expected.shape
        assert result.dtype == np.float32
        np.testing.assert_allclose(result.data, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ((2, 3), (4, 5), r"\(2, 3\) @ \(4, 5\).*3 and 4"),
        ((2, 3), (2, 3), r"\(2, 3\) @ \(2, 3\).*3 and 2"),
        ((2, 2, 3), (3, 3, 4), r"\(2,\) and \(3,\)"),
        ((3,), (4,), "3 and 4"),
        ((), (3, 4), r"\(\) and \(3, 4\): use \*"),
    ],
)
def test_bad_products_name_both_shapes(a: tuple[int, ...], b: tuple[int, ...], words: str) -> None:
    with pytest.raises(ShapeError, match=words) as caught:
        Tensor(np.ones(a)) @ Tensor(np.ones(b))
    assert isinstance(caught.value, ValueError)


# The backend ----------------------------------------------------------------------------------


def test_heavy_operations_run_on_the_current_backend() -> None:
    backend = Recording()
    x = Tensor(X)
    with use_backend(backend):
        _ = x + Y, Y + x, x * 2, x @ Y.T, x @ ROW, x.relu(), x.gelu(), x.softmax()
        _ = x.gelu(approximate="none")
    pair = ((2, 3), (2, 3))
    assert backend.calls == [
        ("add", pair, {}),
        ("add", pair, {}),
        ("multiply", ((2, 3), ()), {}),
        ("matmul", ((2, 3), (3, 2)), {}),
        ("matmul", ((2, 3), (3, 1)), {}),
        ("relu", ((2, 3),), {}),
        ("gelu", ((2, 3),), {"approximate": "tanh"}),
        ("softmax", ((2, 3),), {}),
        ("gelu", ((2, 3),), {"approximate": "none"}),
    ]


@pytest.mark.parametrize("backend", ["naive", "blocked", "numpy", "native", "auto"])
def test_every_backend_gives_the_same_program_the_same_result(backend: str) -> None:
    with use_backend(backend):
        result = ((Tensor(X) @ Y.T + 1).relu() * 0.5).gelu().softmax()
    with use_backend("numpy"):
        expected = ((Tensor(X) @ Y.T + 1).relu() * 0.5).gelu().softmax()
    np.testing.assert_allclose(result.data, expected.data, rtol=1e-5)
    assert result.dtype == np.float32


def test_activations_are_what_they_are_called() -> None:
    assert np.array_equal(Tensor(X).relu().data, np.maximum(X, 0))
    np.testing.assert_allclose(Tensor(X).softmax().sum(axis=-1).data, [1, 1], rtol=1e-6)
    assert Tensor([100.0]).gelu().item() == pytest.approx(100)


# Shape and parts ------------------------------------------------------------------------------


def test_reshape() -> None:
    tensor = Tensor(X)
    assert tensor.reshape(3, 2).shape == tensor.reshape((3, 2)).shape == (3, 2)
    assert tensor.reshape(-1).shape == (6,)
    assert tensor.reshape([2, -1]).shape == (2, 3)
    with pytest.raises(ShapeError, match=r"\(2, 3\) to \(4, 2\)"):
        tensor.reshape(4, 2)


def test_transpose() -> None:
    cube = Tensor(np.zeros((2, 3, 4)))
    assert cube.transpose().shape == cube.T.shape == (2, 4, 3)
    assert cube.transpose(0, 2).shape == (4, 3, 2)
    assert Tensor([1, 2]).T.shape == (2,)
    assert np.array_equal(Tensor(X).T.data, X.T)
    with pytest.raises(InvalidValue, match="got one"):
        cube.transpose(1)


@pytest.mark.parametrize(
    "index",
    [
        0,
        -1,
        slice(None, None, -1),
        (0, 1),
        (slice(None), 1),
        (..., None),
        [1, 0],
        np.array([1, 0]),
        X > 0,
        (np.array([0, 1]), np.array([2, 0])),
    ],
    ids=str,
)
def test_indexing_is_numpys(index: Any) -> None:
    assert np.array_equal(Tensor(X)[index].data, X[index])


def test_tensors_index_tensors() -> None:
    tensor = Tensor(X)
    assert np.array_equal(tensor[Tensor([1, 0])].data, X[[1, 0]])
    assert np.array_equal(tensor[tensor > 0].data, X[X > 0])
    assert np.array_equal(tensor[Tensor([0, 1]), Tensor([2, 0])].data, X[[0, 1], [2, 0]])
    assert np.array_equal(tensor[:, Tensor([2])].data, X[:, [2]])
    assert np.array_equal(tensor[tensor.argmax(axis=0)].data, X[X.argmax(axis=0)])


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min"])
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_are_numpys(name: str, axis: Any, keepdims: bool) -> None:
    result = getattr(Tensor(X), name)(axis=axis, keepdims=keepdims)
    expected = getattr(X, name)(axis=axis, keepdims=keepdims)
    assert isinstance(result, Tensor)
    assert np.array_equal(result.data, expected)
    assert result.dtype == np.float32


def test_places_of_the_extremes() -> None:
    assert Tensor(X).argmax().item() == 4
    assert Tensor(X).argmin(axis=1).tolist() == [1, 2]
    assert Tensor(X).argmax(axis=0).dtype == np.int64


def test_iteration_goes_over_the_first_axis() -> None:
    assert [row.tolist() for row in Tensor(X)] == X.tolist()


# Functions of arrays --------------------------------------------------------------------------


def test_functions_of_arrays_take_tensors() -> None:
    @accepts_tensors
    def twice(x: Array, also: Array | None = None) -> Any:
        return {"twice": x * 2, "also": also, "number": 3}

    plain = twice(X)
    assert isinstance(plain["twice"], np.ndarray)
    wrapped = twice(Tensor(X), also=Y)
    assert isinstance(wrapped["twice"], Tensor) and isinstance(wrapped["also"], Tensor)
    assert wrapped["number"] == 3
    assert isinstance(twice(X, also=Tensor(Y))["twice"], Tensor)
    assert twice.__name__ == "twice"
