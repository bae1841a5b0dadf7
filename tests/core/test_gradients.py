"""Every rule against finite differences in float64, over shapes, broadcasts and strides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from alike import ALIKE
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinytorch import Tensor, use_backend
from tinytorch.core import autograd
from tinytorch.core.gradcheck import gradcheck
from tinytorch.core.tensor import concat, stack, where
from tinytorch.errors import InvalidValue, VerificationError
from tinytorch.ops.spec import LAYOUTS, laid_out

Shape = tuple[int, ...]


def leaf(shape: Shape, seed: int = 0, layout: str = "C", positive: bool = False) -> Tensor:
    """Draw a float64 leaf whose elements lie apart, so that no kink or tie is within a step."""
    size = int(np.prod(shape))
    order = np.random.default_rng([seed, *shape]).permutation(size)
    values = (order + 0.5 - size / 2) * (3.0 / max(size, 1)) + 0.01
    values = np.abs(values) + 0.3 if positive else values
    return Tensor(laid_out(values.reshape(shape), layout), requires_grad=True, dtype=np.float64)


UNARY: dict[str, Callable[[Tensor], Tensor]] = {
    **ALIKE,
    "constant": lambda x: x**0 * x,
    "clip below": lambda x: x.clip(min=-0.7),
    "gelu": lambda x: x.gelu(),
    "gelu exact": lambda x: x.gelu(approximate="none"),
    "log_softmax first": lambda x: x.log_softmax(dim=0),
    "flatten": lambda x: x.flatten() ** 2,
    "permute": lambda x: x.permute(1, 0) ** 2,
    "unsqueeze": lambda x: x.unsqueeze(1).squeeze(1) ** 2,
    "row": lambda x: x[1] ** 2,
    "backwards": lambda x: x[::-1] ** 2,
    "places": lambda x: x[np.array([0, 0, 1]), np.array([2, 2, 1])] ** 2,
    "rows": lambda x: x[[1, 0, 1]] ** 2,
    "rows from the end": lambda x: x[np.array([[-1, 0], [1, -1]])] ** 2,
    "part of a row": lambda x: x[1, [2, -1, 0]] ** 2,
    "columns": lambda x: x[:, [1, 1]] ** 2,
    "no rows": lambda x: x[np.array([], int)].sum() + x.sum(),
    "mask": lambda x: x[np.array([[True, False, True], [False, True, True]])] ** 2,
    "new axis": lambda x: x[:, None, 1:] ** 2,
    "masked_fill": lambda x: x.masked_fill(np.array([True, False, True]), 7.0) ** 2,
    "clone": lambda x: x.clone() ** 2,
    "concat": lambda x: concat([x, x * 2, Tensor(np.ones((2, 1)))], axis=1) ** 2,
    "stack": lambda x: stack([x, x.exp()], axis=1) ** 2,
    "where": lambda x: where(x.detach() > 0, x**2, x * 3),
    "maximum": lambda x: x.maximum(0.05) ** 2,
    "minimum": lambda x: x.minimum(x * 0.5 + 0.1) ** 2,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", UNARY)
def test_a_rule_of_one_operand(name: str, layout: str) -> None:
    assert gradcheck(UNARY[name], leaf((2, 3), layout=layout))


@pytest.mark.parametrize("name", ["log", "sqrt", "pow"])
def test_a_rule_of_positive_numbers(name: str) -> None:
    function = {"log": Tensor.log, "sqrt": Tensor.sqrt, "pow": lambda x: x**-1.5}[name]
    assert gradcheck(function, leaf((2, 3), positive=True))


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "var", "std"])
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2), (-1, 0)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(name: str, axis: Any, keepdims: bool) -> None:
    assert gradcheck(lambda x: getattr(x, name)(axis=axis, keepdims=keepdims) ** 2, leaf((2, 3, 4)))


def test_spread_of_a_sample() -> None:
    assert gradcheck(lambda x: x.var(axis=1, ddof=1), leaf((2, 3)))
    assert gradcheck(lambda x: x.std(ddof=1), leaf((2, 3)))


BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "pow": lambda a, b: a**b,
}


@settings(max_examples=25)
@given(
    shapes=hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3), data=st.data()
)
@pytest.mark.parametrize("name", BINARY)
def test_broadcast_arithmetic(name: str, shapes: Any, data: st.DataObject) -> None:
    layouts = [data.draw(st.sampled_from(LAYOUTS)) for _ in range(2)]
    a, b = (
        leaf(shape, seed, layout, positive=True)
        for seed, (shape, layout) in enumerate(zip(shapes.input_shapes, layouts, strict=True))
    )
    assert gradcheck(BINARY[name], a, b)


PRODUCTS = [
    ((2, 3), (3, 4)),
    ((3,), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3,)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 4)),
    ((5, 2, 3), (3, 4)),
    ((2, 1, 2, 3), (3, 3, 2)),
    ((1, 2, 3), (4, 3, 2)),
]


@pytest.mark.parametrize("backend", ["numpy", "native", "auto"])
@pytest.mark.parametrize(("a", "b"), PRODUCTS)
def test_products(a: Shape, b: Shape, backend: str) -> None:
    with use_backend(backend):
        assert gradcheck(lambda x, y: x @ y, leaf(a), leaf(b, 1))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_products_of_strided_operands(layout: str) -> None:
    assert gradcheck(lambda x, y: x @ y, leaf((2, 3, 4), 0, layout), leaf((4, 2), 1, layout))
    assert gradcheck(lambda x, y: x.T @ y, leaf((4, 3), 0, layout), leaf((4, 2), 1, layout))


def test_a_side_that_needs_no_gradient_gets_none() -> None:
    x, constant = leaf((2, 3)), Tensor(np.ones((3, 2)), dtype=np.float64)
    (x @ constant).sum().backward()
    assert constant.grad is None
    assert x.grad is not None
    for operation in BINARY.values():
        assert gradcheck(
            lambda t, operation=operation: operation(t, 2.0), leaf((3,), positive=True)
        )
        assert gradcheck(
            lambda t, operation=operation: operation(2.0, t), leaf((3,), positive=True)
        )


def test_ties_share_the_gradient() -> None:
    x = Tensor([1.0, 3.0, 3.0], requires_grad=True)
    x.max().backward()
    assert x.grad.tolist() == [0, 0.5, 0.5]


def test_slopes_at_the_edges_are_numbers() -> None:
    x = Tensor([-1e30, -40.0, 0.0, 40.0, 1e30], requires_grad=True)
    for function in (Tensor.relu, Tensor.gelu, Tensor.sigmoid, Tensor.tanh, Tensor.softmax):
        x.grad = None
        function(x).sum().backward()
        assert np.isfinite(x.grad).all(), function
    x.grad = None
    x.gelu(approximate="none").sum().backward()
    assert x.grad.tolist()[:2] == [0, 0] and x.grad.tolist()[3:] == [1, 1]


def test_zero_to_a_power() -> None:
    x = Tensor([0.0, 2.0], requires_grad=True)
    p = Tensor([2.0, 0.0], requires_grad=True)
    (x**p).sum().backward()
    assert x.grad.tolist() == [0, 0]
    np.testing.assert_allclose(p.grad, [0, np.log(2)], rtol=1e-6)


def test_equal_elements_have_no_spread() -> None:
    x = Tensor([2.0, 2.0], requires_grad=True)
    x.std().backward()
    assert x.grad.tolist() == [0, 0]


def test_mixed_precision_gives_each_its_own() -> None:
    single = Tensor([1.0, 2.0], requires_grad=True)
    double = Tensor([3.0, 4.0], requires_grad=True, dtype=np.float64)
    (single * double).sum().backward()
    assert single.grad.dtype == np.float32 and single.grad.tolist() == [3, 4]
    assert double.grad.dtype == np.float64 and double.grad.tolist() == [1, 2]


def test_the_check_itself_can_fail() -> None:
    class Wrong(autograd.Function):
        def forward(self, x: Tensor) -> Tensor:
            return x * x

        def backward(self, grad: Any) -> Any:
            return grad

    with pytest.raises(VerificationError, match="argument 0"):
        gradcheck(Wrong.apply, leaf((2,)))
    with pytest.raises(InvalidValue, match="float64"):
        gradcheck(lambda x: x, Tensor([1.0], requires_grad=True))
