"""The graph: what is recorded, in which order gradients flow, and what is refused."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

from tinytorch import Tensor
from tinytorch.core import autograd, graph
from tinytorch.core.autograd import Function, enable_grad, no_grad
from tinytorch.errors import GraphError, InvalidValue, ShapeError

NAMES = {
    "Add": lambda x: x + 1,
    "Mul": lambda x: x * 2,
    "Sub": lambda x: x - 1,
    "Div": lambda x: x / 2,
    "Matmul": lambda x: x @ x.T,
    "Sum": lambda x: x.sum(),
    "Reshape": lambda x: x.reshape(3, 2),
    "Transpose": lambda x: x.T,
    "Permute": lambda x: x.permute(1, 0),
    "Slice": lambda x: x[0],
    "ReLU": lambda x: x.relu(),
    "Sigmoid": lambda x: x.sigmoid(),
    "Tanh": lambda x: x.tanh(),
    "Softmax": lambda x: x.softmax(),
    "GELU": lambda x: x.gelu(),
}


def ones() -> Tensor:
    return Tensor(np.ones((2, 3)), requires_grad=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_result_says_where_it_came_from(name: str) -> None:
    result = NAMES[name](ones())
    assert type(result._grad_fn).__name__ == f"{name}Backward"
    assert isinstance(result._grad_fn, getattr(autograd, f"{name}Backward"))
    assert isinstance(result._grad_fn, Function)
    assert result.requires_grad and not result.is_leaf


def test_leaves_and_constants_have_no_history() -> None:
    assert ones()._grad_fn is None
    assert (Tensor([1.0]) + 1)._grad_fn is None
    assert not (Tensor([1.0]) + 1).requires_grad
    assert (ones() > 0)._grad_fn is None
    assert not ones().detach().requires_grad


def test_gradients_accumulate_until_they_are_cleared() -> None:
    x = Tensor([2.0], requires_grad=True)
    (x * x).sum().backward()
    (x * x).sum().backward()
    assert x.grad.tolist() == [8]
    x.zero_grad()
    assert x.grad is None
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3]


def test_a_gradient_given() -> None:
    for given in (np.array([1, 2, 3]), Tensor([1, 2, 3]), [1, 2, 3]):
        x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
        (x * 2).backward(given)
        assert x.grad.tolist() == [2, 4, 6]
        assert x.grad.dtype == np.float32


def test_a_gradient_is_needed_for_more_than_a_scalar() -> None:
    y = ones() * 2
    with pytest.raises(InvalidValue, match=r"scalar.*\(2, 3\)"):
        y.backward()
    with pytest.raises(ShapeError, match=r"\(2, 3\), got \(3,\)"):
        y.backward(np.ones(3))
    with pytest.raises(InvalidValue, match="numbers"):
        y.backward(np.full((2, 3), "x"))


def test_a_leaf_is_its_own_gradient() -> None:
    x = Tensor(3.0, requires_grad=True)
    x.backward()
    assert x.grad == 1


def test_what_requires_nothing_is_refused() -> None:
    with pytest.raises(GraphError, match="does not require"):
        Tensor(1.0).backward()


def test_a_second_backward_says_released() -> None:
    x = ones()
    y = (x * 2).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="released"):
        y.backward()
    assert x.grad.tolist() == [[2] * 3] * 2


def test_a_shared_trunk_is_released_too() -> None:
    trunk = ones() * 2
    first, second = trunk.sum(), (trunk * 3).sum()
    first.backward(retain_graph=True)
    second.backward()
    with pytest.raises(RuntimeError, match="released"):
        first.backward()


def test_a_kept_graph_can_be_run_again() -> None:
    x = ones()
    y = (x.exp() * 2).sum()
    y.backward(retain_graph=True)
    once = x.grad.copy()
    y.backward()
    np.testing.assert_array_equal(x.grad, 2 * once)


def test_gradients_of_a_diamond_meet() -> None:
    x = Tensor([3.0], requires_grad=True)
    a = x * 2
    b, c = a + 1, a * a
    (b * c + a).sum().backward()
    # f = (2x + 1) 4x^2 + 2x
    assert x.grad.tolist() == [24 * 9 + 8 * 3 + 2]


def test_a_chain_of_a_hundred_thousand() -> None:
    x = Tensor([1.0], requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y + 1
    y.backward()
    assert x.grad.tolist() == [1]
    y = x
    for _ in range(100_000):
        y = y + 1
    del y  # and it is forgotten without recursion


def test_no_two_leaves_share_a_gradient() -> None:
    a, b = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True)
    given = np.ones(2, np.float32)
    (a + b).backward(given)
    a.grad *= 0
    assert b.grad.tolist() == [1, 1] and given.tolist() == [1, 1]
    a.zero_grad()
    a.sum().backward()
    assert a.grad.flags.writeable and a.grad.flags.c_contiguous


def test_no_grad_records_nothing() -> None:
    x = ones()
    with no_grad():
        assert (x * 2)._grad_fn is None
        with enable_grad():
            assert (x * 2).requires_grad
        assert not graph.is_grad_enabled()
    assert graph.is_grad_enabled()

    @no_grad()
    def twice(t: Tensor) -> Tensor:
        return t * 2

    assert not twice(x).requires_grad
    with pytest.raises(ValueError), no_grad():
        raise ValueError
    assert graph.is_grad_enabled()


def test_no_grad_is_for_one_thread() -> None:
    seen: list[bool] = []
    with no_grad():
        other = threading.Thread(target=lambda: seen.append((ones() * 2).requires_grad))
        other.start()
        other.join()
    assert seen == [True]


def test_the_graph_and_what_it_kept_are_freed() -> None:
    x = ones()
    middle = x.exp()
    kept = weakref.ref(middle)
    y = (middle * 2).sum()
    del middle
    gc.disable()
    try:
        assert kept() is None  # the graph holds arrays that backward needs, never Tensors
        node = weakref.ref(y)
        y.backward()
        del y
        assert node() is None
    finally:
        gc.enable()


def test_every_backward_is_importable() -> None:
    for name in NAMES:
        assert issubclass(getattr(autograd, f"{name}Backward"), Function)
    assert autograd.enable_autograd(quiet=True) is None


# Writes in place --------------------------------------------------------------------------------


def test_a_write_into_what_backward_needs_is_an_error() -> None:
    x = ones()
    y = x * 2
    z = (y * y).sum()
    y.data += 1
    with pytest.raises(GraphError, match=r"written in place.*\(2, 3\)|\(2, 3\).*written"):
        z.backward()


def test_a_write_through_a_view_is_seen_too() -> None:
    x = ones()
    y = x * 2
    z = (y * y).sum()
    with no_grad():
        y.detach().reshape(6)[2:4] = 5
    with pytest.raises(GraphError, match="written"):
        z.backward()


def test_a_write_beside_what_is_needed_is_not() -> None:
    memory = Tensor(np.ones((4, 3)))
    w = Tensor([2.0, 2.0, 2.0], requires_grad=True)
    y = (w * memory[0]).sum()
    memory[2:3][0] = 7
    y.backward()
    assert w.grad.tolist() == [1, 1, 1]


def test_an_update_between_forward_and_backward_is_an_error() -> None:
    x, w = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0], requires_grad=True)
    y = (x * w).sum()
    w.data -= 0.1
    with pytest.raises(GraphError, match="written"):
        y.backward()


def test_an_update_after_backward_is_what_training_does() -> None:
    w = Tensor([3.0, 4.0], requires_grad=True)
    for _ in range(3):
        w.zero_grad()
        (w * w).sum().backward()
        w.data -= 0.1 * w.grad
    np.testing.assert_allclose(w.data, np.array([3, 4]) * 0.8**3, rtol=1e-6)
    assert w.dtype == np.float32


def test_a_new_array_leaves_the_old_graph_alone() -> None:
    w = Tensor([3.0], requires_grad=True)
    y = w * w
    w.data = np.array([100.0])
    y.backward()
    assert w.grad.tolist() == [6]
    assert w.dtype == np.float32


def test_recorded_tensors_are_not_written() -> None:
    x = ones()
    for target, value in ((x, 1), (x * 2, 1), (Tensor(np.zeros((2, 3))), x)):
        with pytest.raises(GraphError, match="not recorded"):
            target[0] = value if not isinstance(value, Tensor) else value[0]
    with no_grad():
        x[0] = 5
    assert x.tolist()[0] == [5, 5, 5]
    with pytest.raises(ShapeError, match=r"\(4,\) into that part of \(2, 3\)"), no_grad():
        x[0] = np.ones(4)


def test_many_writes_are_remembered_in_little_memory() -> None:
    from tinytorch.core import writes

    memory = Tensor(np.zeros(1000))
    for i in range(1000):
        memory[i] = i
    assert len(writes._blocks[id(memory.data)].ranges) <= 64
    w = Tensor([2.0], requires_grad=True)
    y = (w * memory).sum()
    memory[3] = 1
    with pytest.raises(GraphError):
        y.backward()
    key = id(memory.data)
    del memory, y
    gc.collect()
    assert key not in writes._blocks


# Functions of one's own -------------------------------------------------------------------------


class Cube(Function):
    def forward(self, x: Any) -> Any:
        self.x = x
        return x * x * x

    def backward(self, grad: Any) -> Any:
        return grad * 3 * self.x * self.x


class Scaled(Function):
    @staticmethod
    def forward(ctx: Any, x: Any, y: Any, scale: float = 1.0) -> Any:
        ctx.save_for_backward(x, y)
        ctx.scale = scale
        return np.asarray(x) * np.asarray(y) * scale

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        x, y = ctx.saved_tensors
        return grad * y.data * ctx.scale, grad * x.data * ctx.scale


def test_a_function_of_ones_own() -> None:
    x = Tensor([2.0, 3.0], requires_grad=True)
    y = Cube.apply(x)
    assert y.tolist() == [8, 27] and type(y._grad_fn) is Cube
    y.sum().backward()
    assert x.grad.tolist() == [12, 27]
    assert not Cube.apply([1.0]).requires_grad


def test_a_function_in_pytorchs_form() -> None:
    x, y = Tensor([2.0], requires_grad=True), Tensor([3.0], requires_grad=True)
    Scaled.apply(x, y, scale=2.0).sum().backward()
    assert x.grad.tolist() == [6] and y.grad.tolist() == [4]


def test_a_rule_can_be_applied_by_name() -> None:
    x = Tensor([2.0], requires_grad=True)
    autograd.MulBackward.apply(x, 4).sum().backward()
    assert x.grad.tolist() == [4]


def test_a_function_without_its_halves_says_so() -> None:
    class Half(Function):
        pass

    with pytest.raises(NotImplementedError, match="Half must define forward"):
        Half.apply(ones())


def test_a_gradient_of_the_wrong_shape_is_named() -> None:
    class Bad(Function):
        def forward(self, x: Any) -> Any:
            return x * 1

        def backward(self, grad: Any) -> Any:
            return np.ones(7)

    with pytest.raises(ShapeError, match=r"\(7,\).*\(2, 3\)"):
        Bad.apply(ones()).sum().backward()


def test_a_gradient_inside_the_graph_can_be_kept() -> None:
    x = Tensor([2.0], requires_grad=True)
    y = x * 3
    y.retain_grad()
    (y * y).sum().backward()
    assert y.grad.tolist() == [12] and x.grad.tolist() == [36]
