"""The stand-in for an array: operators, ufuncs and methods become nodes, by NumPy's own rules.

Result types come from `ufunc.resolve_dtypes` and `np.result_type`, so they are NumPy's, Python
numbers being weak as NEP 50 has it.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from tinytorch.fuse.ir import DType, Node
from tinytorch.fuse.table import OPERATIONS, SYNONYMS
from tinytorch.fuse.trace import Host, Number, Recorder, compute, constant, refuse

_LOGICAL = ("logical_and", "logical_or", "logical_xor", "logical_not")
_COMPARISONS = ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")
_FLOAT_TESTS = {"isnan": "not_equal", "isinf": "not_equal", "isfinite": "equal"}
_BOOL = np.dtype(np.bool_)
_LARGEST_PRODUCT = 16  # x ** n becomes products up to this n


class Traced(NDArrayOperatorsMixin):
    """Stands in for an array while the user's function runs."""

    def __init__(self, recorder: Recorder, place: int) -> None:
        self.recorder, self.place = recorder, place
        self._seen_elsewhere = self.node.op in ("input", "param")

    @property
    def node(self) -> Node:
        """What it stands for in the graph."""
        return self.recorder.nodes[self.place]

    @property
    def dtype(self) -> DType:
        """As the array's."""
        return self.node.dtype

    @property
    def ndim(self) -> int:
        """As the array's."""
        return len(self.node.shape)

    @property
    def shape(self) -> tuple[Any, ...]:
        """As the array's; what is not 1 is a `Number`."""
        return tuple(size_of(self.recorder, d) for d in self.node.shape)

    @property
    def size(self) -> Any:
        """As the array's."""
        return count(self.recorder, self.node.shape)

    def __len__(self) -> int:
        return operator.index(self.shape[0])

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
        return apply_ufunc(self.recorder, ufunc, method, inputs, keywords)

    def __array_function__(self, function: Any, types: Any, args: Any, keywords: Any) -> Any:
        return self.recorder.rules.function(self.recorder, function, args, keywords)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in self.recorder.rules.methods:
            refuse(f"an array's .{name} is not supported", "compute it outside the fused function")
        method = self.recorder.rules.methods[name]
        return lambda *args, **keywords: method(self.recorder, self, *args, **keywords)

    def __pow__(self, exponent: Any) -> Any:
        # NumPy's operator, unlike np.power, has short cuts for these.
        if type(exponent) in (int, float):
            if exponent == 2:
                return np.square(self)
            if self.dtype.kind == "f" and exponent in (-1, 0.5):
                return np.reciprocal(self) if exponent == -1 else np.sqrt(self)
        return np.power(self, exponent)

    def __getitem__(self, key: Any) -> Traced:
        keys = list(key) if isinstance(key, tuple) else [key]
        full = slice(None)
        if any(k is not None and k is not Ellipsis and k != full for k in keys):
            refuse("only new axes can be indexed in ([..., None])", "slice before the fused call")
        if Ellipsis in keys:
            given = sum(k == full for k in keys if k is not Ellipsis and k is not None)
            at = keys.index(Ellipsis)
            keys[at : at + 1] = [full] * (self.ndim - given)
        return expand(self.recorder, self, tuple(i for i, k in enumerate(keys) if k is None))

    def _refuse_number(self) -> Any:
        refuse(
            "Python asks for the value of an array that is not computed yet",
            "use np.where for a choice by value, or call the function unfused (fallback=True)",
        )

    __bool__ = __int__ = __float__ = __index__ = __iter__ = _refuse_number

    def __array__(self, *args: Any, **keywords: Any) -> Any:
        refuse(
            "this turns the array into a plain NumPy array",
            "use functions that tinytorch.fuse supports",
        )

    def __setitem__(self, key: Any, value: Any) -> None:
        refuse("assigning to elements is not supported", "use np.where")

    def seen_elsewhere(self) -> Traced:
        """Return self, from now on not to be changed in place: another name shares its memory."""
        self._seen_elsewhere = True
        return self

    def _in_place(self, result: Any) -> Traced:
        if self._seen_elsewhere:
            refuse(
                "this changes an argument, or memory that another name shares, in place",
                "write `x = x + y` instead of `x += y`, and pass out= to reuse memory",
            )
        recorder, node = self.recorder, result.node
        if node.shape != self.node.shape or not np.can_cast(node.dtype, self.dtype, "same_kind"):
            refuse("the result does not fit the array changed in place", "give it a new name")
        self.place = cast(recorder, result.place, self.dtype)
        return self


def _in_place_operator(name: str) -> Any:
    def method(self: Traced, other: Any) -> Traced:
        return self._in_place(getattr(operator, name)(self, other))

    return method


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and_", "or_", "xor"):
    setattr(Traced, f"__i{_name.rstrip('_')}__", _in_place_operator(_name))
for _name in ("matmul", "lshift", "rshift"):

    def _unsupported(self: Traced, other: Any, _name: str = _name) -> Any:
        refuse(f"{_name} is not supported", "compute it outside the fused function")

    setattr(Traced, f"__i{_name}__", _unsupported)


def size_of(recorder: Recorder, dim: int | str) -> Any:
    """Return a size: 1, or the Number that stands for it."""
    if isinstance(dim, int):
        return dim
    argument, axis = recorder.sizes[dim]
    host = Host(
        dim, lambda arguments: arguments[argument].shape[axis], False, frozenset({argument})
    )
    return Number(recorder, host, recorder.extent(dim))


def count(recorder: Recorder, dims: tuple[int | str, ...]) -> Any:
    """Return the product of sizes."""
    total: Any = 1
    for dim in dims:
        total = total * size_of(recorder, dim)
    return total


def expand(recorder: Recorder, x: Traced, axes: tuple[int, ...]) -> Traced:
    """Put axes of size one at these places of the result."""
    inner = iter(x.node.shape)
    rank = x.ndim + len(axes)
    shape = tuple(1 if i in axes else next(inner) for i in range(rank))
    x.seen_elsewhere()
    node = Node("expand", (x.place,), x.dtype, shape, axes)
    return Traced(recorder, recorder.append(node)).seen_elsewhere()


def cast(recorder: Recorder, place: int, dtype: DType) -> int:
    """Return the node of that value in another dtype."""
    if recorder.nodes[place].dtype == dtype:
        return place
    return recorder.add("cast", (place,), dtype)


Operand = int | Number


def operand(recorder: Recorder, value: Any) -> Operand:
    """Return the node of an operand, or the Number if it is one (whose type is weak)."""
    if isinstance(value, Traced):
        return value.place
    if isinstance(value, Number):
        return value if not isinstance(value.value, bool) else operand(recorder, bool(value))
    if type(value) in (int, float):
        return Number(recorder, constant(value), value)
    if isinstance(value, bool | np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        known = np.asarray(value)
        return recorder.add("const", (), known.dtype, known.item())
    if isinstance(value, np.ndarray):
        refuse("an array from outside the function is used", "pass it as an argument")
    return refuse(f"a {type(value).__name__} can't be an operand", "use arrays and numbers")


def typed(recorder: Recorder, value: Operand, dtype: DType) -> int:
    """Return the node of an operand in the dtype that the operation computes in."""
    if isinstance(value, int):
        return cast(recorder, value, dtype)
    if not value.host.depends:
        return recorder.add("const", (), dtype, dtype.type(value.value).item())
    dtype.type(value.value)  # an OverflowError now, as NumPy's
    return recorder.param(value.host, dtype)


def _weak(recorder: Recorder, value: Operand) -> Any:
    """Return what stands for an operand in `resolve_dtypes`."""
    return recorder.nodes[value].dtype if isinstance(value, int) else type(value.value)


def apply_ufunc(
    recorder: Recorder, ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], keywords: Any
) -> Any:
    """Record a ufunc, as `__array_ufunc__` is called."""
    if method != "__call__" or keywords:
        what = f"np.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
        given = "".join(f" with {key}=" for key in keywords)
        refuse(f"{what}{given} is not supported here", "use the plain call")
    operands = [operand(recorder, value) for value in inputs]
    name = SYNONYMS.get(ufunc.__name__, ufunc.__name__)
    if all(isinstance(value, Number) for value in operands):
        number = compute(recorder, ufunc, name, inputs)  # NumPy's answer has a dtype of its own
        return Traced(recorder, recorder.param(number.host, np.asarray(number.value).dtype))
    if name in ("radians", "deg2rad", "degrees", "rad2deg"):
        factor = np.pi / 180 if name in ("radians", "deg2rad") else 180 / np.pi
        return inputs[0] * factor
    if name not in OPERATIONS:
        refuse(f"np.{name} is not supported", "compute it outside the fused function")
    return Traced(recorder, elementwise(recorder, ufunc, name, operands))


def elementwise(recorder: Recorder, ufunc: np.ufunc, name: str, operands: list[Operand]) -> int:
    """Append the node of a ufunc, its operands cast to the types of NumPy's loop."""
    seen = [_weak(recorder, value) for value in operands]
    *loop, result = ufunc.resolve_dtypes((*seen, None))
    if name in _LOGICAL:
        loop = [_BOOL] * len(loop)
    elif loop[0].kind != "f" and name in _FLOAT_TESTS:
        name, operands, loop = _FLOAT_TESTS[name], operands * 2, loop * 2
    if len(set(loop)) > 1:
        refuse(f"np.{name} of {loop[0]} and {loop[1]} has no common type", "cast one of them")
    if name == "power" and loop[0].kind != "f":
        return _integer_power(recorder, operands, loop[0])
    if loop[0].kind not in OPERATIONS[name].sources or loop[0] == np.float16:
        refuse(f"np.{name} of {loop[0]} is not supported", "cast to float32 or float64")
    places = tuple(typed(recorder, v, t) for v, t in zip(operands, loop, strict=True))
    return recorder.add(name, places, result)


def _integer_power(recorder: Recorder, operands: list[Operand], dtype: DType) -> int:
    exponent = operands[1]
    value = exponent._concrete() if isinstance(exponent, Number) else None
    if not isinstance(value, int) or not 1 <= value <= _LARGEST_PRODUCT:
        refuse(
            f"integers can be raised to 1 ... {_LARGEST_PRODUCT} only, known when traced",
            "cast the base to float64",
        )
    base = total = typed(recorder, operands[0], dtype)
    for _ in range(value - 1):
        total = recorder.add("multiply", (total, base), dtype)
    return total
