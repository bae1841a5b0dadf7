from __future__ import annotations

import math

import numpy as np
import pytest

from tinytorch import ops
from tinytorch.errors import InvalidValue, ShapeError, UnknownName
from tinytorch.ops import spec
from tinytorch.ops.spec import Cost, Shapes

KINDS = {
    "tiny": lambda shapes: all(math.prod(s) < 100 for s in shapes),
    "empty": lambda shapes: any(0 in s for s in shapes),
    "one element": lambda shapes: all(math.prod(s) == 1 for s in shapes),
    "square": lambda shapes: (
        len(shapes[0]) == 2 and all(s[0] == s[1] > 1 for s in shapes[:2] if len(s) == 2)
    ),
    "tall": lambda shapes: any(len(s) == 2 and s[0] > 15 * s[1] > 0 for s in shapes),
    "wide": lambda shapes: any(len(s) >= 1 and s[-1] > 10 * s[0] > 0 for s in shapes),
    "odd": lambda shapes: any(all(n % 2 for n in s) and math.prod(s) > 100 for s in shapes),
}


# What is square or tall of images are their last two axes.
IMAGE_KINDS = {
    "square": lambda shapes: shapes[0][2] == shapes[0][3] > 1,
    "tall": lambda shapes: shapes[0][2] > 15 * shapes[0][3] > 0,
}
# And of images with their pixels in a row, the images and their channels.
CHANNEL_KINDS = {
    "square": lambda shapes: shapes[0][0] == shapes[0][1] > 1,
    "tall": lambda shapes: shapes[0][0] > 15 * shapes[0][1] > 0,
}
CHANNEL_OPS = {"channel_moments", "batch_norm", "batch_norm_gradient"}
IMAGE_OPS = {name for name in ops.names() if "2d" in name}
# Their windows and borders, which are the same for all sizes of a suite, don't fit one pixel.
NEED_PIXELS = {"max_pool2d", "max_pool2d_gradient", "avg_pool2d", "conv2d_input_gradient"}
# One block has a start and an end.
NEED_MORE = {*NEED_PIXELS, "sparse_linear"}


def test_the_folder_is_the_list() -> None:
    wanted = {"matmul", "relu", "gelu", "add", "multiply", "squared_difference", "dot"}
    wanted |= {"euclidean_distance", "softmax", "int8_matmul"}
    assert wanted <= set(ops.names())
    assert all(ops.get(name).name == name for name in ops.names())
    assert {"spec", "verify", "elementwise", "rows"}.isdisjoint(ops.names())


def test_an_unknown_op_offers_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'matmul'") as caught:
        ops.get("matmull")
    assert caught.value.nearest == "matmul"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ops.names())
def test_the_suite_has_every_kind_of_shape(name: str, kind: str) -> None:
    if kind == "one element" and name in NEED_MORE:
        kind = "tiny"
    others = IMAGE_KINDS if name in IMAGE_OPS else CHANNEL_KINDS if name in CHANNEL_OPS else {}
    is_kind = {**KINDS, **others}[kind]
    assert any(is_kind(size.shapes) for size in ops.get(name).sizes), f"{name} lacks {kind}"


@pytest.mark.parametrize(
    ("name", "shapes", "dtype", "cost"),
    [
        ("matmul", ((3, 4), (4, 5)), "float32", Cost(2 * 3 * 4 * 5, 4 * (12 + 20 + 15))),
        ("matmul", ((3, 4), (4, 5)), "float64", Cost(120, 8 * 47)),
        ("matmul", ((2, 1, 3, 4), (6, 4, 5)), "float32", Cost(12 * 120, 4 * (24 + 120 + 180))),
        ("matmul", ((3, 0), (0, 5)), "float32", Cost(0, 4 * 15)),
        ("int8_matmul", ((3, 4), (4, 5)), "int8", Cost(120, 12 + 20 + 4 * 15)),
        ("add", ((2, 3), (2, 3)), "float32", Cost(6, 4 * 18)),
        ("add", ((2, 1), (3,)), "float32", Cost(6, 4 * (2 + 3 + 6))),
        ("multiply", ((7,), (7,)), "float64", Cost(7, 8 * 21)),
        ("squared_difference", ((7,), (7,)), "float32", Cost(14, 4 * 21)),
        ("relu", ((7,),), "float32", Cost(7, 4 * 14)),
        ("gelu", ((7,),), "float32", Cost(9 * 7, 4 * 14)),
        ("softmax", ((2, 7),), "float32", Cost(5 * 14, 4 * 28)),
        ("dot", ((7,), (7,)), "float32", Cost(14, 4 * 15)),
        ("euclidean_distance", ((7,), (7,)), "float32", Cost(3 * 7 + 1, 4 * 15)),
        ("add", ((), ()), "float32", Cost(1, 4 * 3)),
        ("layer_norm", ((2, 7), (7,), (7,)), "float32", Cost(7 * 14, 4 * 42)),
        ("cross_entropy", ((2, 7), (2,)), "float32", Cost(4 * 14, 4 * 15 + 8 * 2)),
        ("adam", ((7,),) * 4, "float32", Cost(16 * 7, 4 * 7 * 7)),
        ("layer_norm_gradient", ((2, 7), (7,), (2, 7)), "float64", Cost(16 * 14, 8 * (42 + 21))),
    ],
)
def test_costs_by_hand(name: str, shapes: Shapes, dtype: str, cost: Cost) -> None:
    assert ops.get(name).cost(shapes, dtype) == cost


def test_costs_are_exact_integers_for_large_shapes() -> None:
    n = 100_003
    assert ops.get("matmul").cost(((n, n), (n, n)), "float32").flops == 2 * n**3


@pytest.mark.parametrize("name", ops.names())
def test_inputs_depend_on_their_arguments_alone(name: str) -> None:
    op = ops.get(name)
    shapes, dtype = op.sizes[-1].shapes, op.dtypes[0]
    first, again = op.inputs(shapes, dtype), op.inputs(shapes, dtype)
    other = op.inputs(shapes, dtype, seed=1)
    for i, (a, b, c) in enumerate(zip(first, again, other, strict=True)):
        assert a.dtype == np.dtype(np.int64 if i in op.indices else dtype)
        assert np.array_equal(a, b) and not np.shares_memory(a, b)
        assert not np.array_equal(a, c)
    assert tuple(a.shape for a in first) == shapes


@pytest.mark.parametrize("name", ops.names())
def test_layouts_hold_the_same_values(name: str) -> None:
    op = ops.get(name)
    for size in op.sizes:
        plain = op.inputs(size.shapes, op.dtypes[0])
        for layout in spec.LAYOUTS:
            for a, b in zip(plain, op.inputs(size.shapes, op.dtypes[0], layout), strict=True):
                assert np.array_equal(a, b), f"{size} {layout}"
                assert a.shape == b.shape


def test_layouts_are_what_they_are_called() -> None:
    array = np.arange(12.0).reshape(3, 4)
    laid = {layout: spec.laid_out(array, layout) for layout in spec.LAYOUTS}
    assert laid["C"].strides == (32, 8)
    assert laid["F"].strides == (8, 24)
    assert laid["strided"].strides == (128, 16)
    assert laid["negative"].strides == (-32, -8)
    with pytest.raises(InvalidValue, match="'diagonal'"):
        spec.laid_out(array, "diagonal")


def test_wide_inputs_are_wide_and_without_a_mean() -> None:
    (x,) = ops.get("gelu").inputs(((100_000,),))
    size = np.abs(x)
    assert abs(x.mean()) < 0.05 * size.mean()
    assert np.quantile(size, 0.99) > 500 * np.quantile(size, 0.01)


@pytest.mark.parametrize(
    ("name", "shapes", "words"),
    [
        ("matmul", ((3,), (3, 4)), "2D+"),
        ("matmul", ((2, 3), (4, 5)), "shape mismatch.*3 and 4"),
        ("matmul", ((2, 3, 4), (3, 4, 5)), "batch axes"),
        ("add", ((2, 3), (4,)), "do not broadcast"),
        ("dot", ((3,), (3, 1)), "one shape"),
        ("euclidean_distance", ((3,), (4,)), "one shape"),
        ("softmax", ((),), "at least one axis"),
        ("layer_norm", ((2, 3), (2,), (3,)), r"as long as a row.*\(3,\)"),
        ("softmax_gradient", ((2, 3), (3, 2)), "one shape"),
        ("cross_entropy", ((2, 3), (3,)), "labels"),
        ("cross_entropy", ((2, 0), (2,)), "one class"),
        ("adam", ((3,), (3,), (3,), (4,)), "one shape"),
        ("gelu_gradient", ((3,), (4,)), "one shape"),
    ],
)
def test_bad_shapes_are_one_clear_line(name: str, shapes: Shapes, words: str) -> None:
    with pytest.raises(ShapeError, match=words) as caught:
        ops.get(name).output_shape(shapes)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "shapes", "output"),
    [
        ("matmul", ((2, 1, 3, 4), (6, 4, 5)), (2, 6, 3, 5)),
        ("add", ((2, 1), (3,)), (2, 3)),
        ("dot", ((2, 3), (2, 3)), ()),
        ("softmax", ((2, 3),), (2, 3)),
        ("gelu", ((),), ()),
    ],
)
def test_output_shapes(name: str, shapes: Shapes, output: tuple[int, ...]) -> None:
    assert ops.get(name).output_shape(shapes) == output


def test_another_form_of_gelu_is_refused() -> None:
    with pytest.raises(InvalidValue, match="'tanh' or 'none', got 'sigmoid'"):
        ops.get("gelu").output_shape(((3,),), approximate="sigmoid")


@pytest.mark.parametrize(
    ("approximate", "at_one"), [("tanh", 0.8411919906082768), ("none", 0.8413447460685429)]
)
def test_gelu_at_one(approximate: str, at_one: float) -> None:
    # 0.5 (1 + tanh(0.7978845608 * 1.044715)); and the normal distribution function at 1.
    value = ops.get("gelu").reference(np.array(1.0), approximate=approximate)
    assert float(value) == pytest.approx(at_one, abs=1e-12)


def test_softmax_rows_sum_to_one_and_do_not_overflow() -> None:
    result = ops.get("softmax").reference(np.array([[1e4, 1e4 - 1, -1e4], [0.0, 0.0, 0.0]]))
    assert result.sum(axis=-1) == pytest.approx([1, 1])
    assert result[0, 0] / result[0, 1] == pytest.approx(math.e)
    assert result[1] == pytest.approx([1 / 3] * 3)


def test_relu_keeps_nan() -> None:
    result = ops.get("relu").reference(np.array([-1.0, 2.0, np.nan, -0.0]))
    assert np.array_equal(result, [0, 2, np.nan, 0], equal_nan=True)


def test_sizes_by_name() -> None:
    op = ops.get("matmul")
    assert op.size("1024").shapes == ((1024, 1024), (1024, 1024))
    assert str(op.size("prime")) == "prime"
    with pytest.raises(UnknownName, match="did you mean 'prime'"):
        op.size("prim")


@pytest.mark.parametrize("name", ops.names())
def test_sizes_have_one_name_each(name: str) -> None:
    op = ops.get(name)
    names = [size.name for size in (*op.sizes, *op.ladder)]
    assert len(names) == len(set(names))
    assert {len(size.shapes) for size in (*op.sizes, *op.ladder)} == {op.arity}


def test_params_text() -> None:
    gelu = ops.get("gelu")
    assert [gelu.params_text(p) for p in gelu.variants] == ["approximate=tanh", "approximate=none"]
    assert gelu.params_text({}) == ""
