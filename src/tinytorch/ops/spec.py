"""Op: what to compute, what it costs and how close is close enough; described once, used by all.

An op's file says everything about it: conformance tests, autotuner, profiler, roofline and ladder
look it up here, and no second place states FLOPs, bytes, sizes or tolerance.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinytorch.errors import InvalidValue, UnknownName

Shape = tuple[int, ...]
Shapes = tuple[Shape, ...]
Params = Mapping[str, Any]
Array = NDArray[Any]

LAYOUTS = ("C", "F", "strided", "negative")
FLOATS = ("float32", "float64")


@dataclass(frozen=True)
class Size:
    """One set of input shapes, with the name that a table shows."""

    name: str
    shapes: Shapes

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Cost:
    """Floating-point operations (a multiply-add counts as two) and compulsory bytes moved."""

    flops: int
    bytes_moved: int


@dataclass(frozen=True)
class Tolerance:
    """How far from the float64 reference an output may be, derived from rounding analysis.

    `bound(reference, *inputs, **params)` returns, elementwise, the largest honest error in units
    of the output type's eps (its unit in the last place of 1); `why` is the analysis in a sentence.
    """

    why: str
    bound: Callable[..., Any]


def wide(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Draw values without a mean over ten binades, so that dropped or doubled terms show."""
    values = rng.standard_normal(shape) * np.exp2(rng.uniform(-6.0, 4.0, shape))
    return np.asarray(values).astype(dtype)


@dataclass(frozen=True)
class Op:
    """One operation.

    name: what it is dispatched by; signature: its shapes in letters.
    reference: plain NumPy in float64; never fast.
    output_shape: shapes (and params) to the output's shape; raises ShapeError for a bad call.
    outputs: how many arrays the op returns. With more than one, `reference`, `output_shape` and the
    tolerance's bound return tuples, and so does every kernel; `out` is a tuple too.
    flops: shapes (and params) to the floating-point operations done.
    sizes: the suite that conformance runs; ladder: growing sizes for tables of speed.
    variants: the params that conformance and benchmarks cover.
    draw: how inputs are made from a random generator, a shape and a dtype, one by one.
    draw_all: how they are made together, from all shapes, where one depends on another.
    indices: which inputs hold indices: integers of any type, whatever the op's dtype.
    output_dtype: None for the inputs' common type, or the name of a fixed one.
    specials: values that an elementwise op must carry through as its reference does.
    """

    name: str
    signature: str
    reference: Callable[..., Any]
    output_shape: Callable[..., Any]
    flops: Callable[..., int]
    tolerance: Tolerance
    sizes: tuple[Size, ...]
    ladder: tuple[Size, ...]
    variants: tuple[Params, ...] = ({},)
    dtypes: tuple[str, ...] = FLOATS
    draw: Callable[[np.random.Generator, Shape, np.dtype[Any]], Array] = wide
    output_dtype: str | None = None
    specials: tuple[float, ...] = ()
    outputs: int = 1
    draw_all: Callable[[np.random.Generator, Shapes, np.dtype[Any]], tuple[Array, ...]] | None = (
        None
    )
    indices: tuple[int, ...] = ()

    @property
    def arity(self) -> int:
        """How many arrays the op takes."""
        return len(self.sizes[0].shapes)

    def cost(
        self, shapes: Shapes, dtype: str | np.dtype[Any], params: Params | None = None
    ) -> Cost:
        """Return FLOPs and compulsory traffic: each input read once, each output written once."""
        params = params or {}
        out_dtype = np.dtype(self.output_dtype or dtype)
        read = sum(
            math.prod(shape) * np.dtype(np.int64 if i in self.indices else dtype).itemsize
            for i, shape in enumerate(shapes)
        )
        written = sum(math.prod(shape) for shape in self.output_shapes(shapes, params))
        return Cost(self.flops(shapes, **params), read + written * out_dtype.itemsize)

    def output_shapes(self, shapes: Shapes, params: Params | None = None) -> Shapes:
        """Return the shape of each array that the op returns."""
        found = self.output_shape(shapes, **(params or {}))
        return found if self.outputs > 1 else (found,)

    def valued(self, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
        """Return the inputs that are computed with: all but indices."""
        if not self.indices:
            return arrays
        return tuple(a for i, a in enumerate(arrays) if i not in self.indices)

    def inputs(
        self, shapes: Shapes, dtype: str = "float32", layout: str = "C", seed: int = 0
    ) -> tuple[Array, ...]:
        """Return inputs that depend on nothing but the arguments."""
        rng = np.random.default_rng([seed, *(n for shape in shapes for n in shape)])
        kind = np.dtype(dtype)
        if self.draw_all is not None:
            drawn = self.draw_all(rng, shapes, kind)
        else:
            drawn = tuple(self.draw(rng, shape, kind) for shape in shapes)
        return tuple(laid_out(array, layout) for array in drawn)

    def size(self, name: str) -> Size:
        """Return the size of that name, or of the shapes that it spells: `300x200:200x100`.

        Raises UnknownName when it is neither.
        """
        known = {size.name: size for size in (*self.sizes, *self.ladder)}
        if name in known:
            return known[name]
        if re.fullmatch(r"\d+(x\d+)*(:\d+(x\d+)*)*", name) and name.count(":") == self.arity - 1:
            spelled = (tuple(map(int, shape.split("x"))) for shape in name.split(":"))
            return Size(name, tuple(spelled))
        example = ":".join(["64x64"] * self.arity)
        raise UnknownName(f"size of {self.name}", name, [*known, f"shapes such as {example}"])

    def params_text(self, params: Params) -> str:
        """Return params as a table shows them: `approximate=tanh`, or nothing."""
        return ",".join(f"{key}={value}" for key, value in sorted(params.items()))


def laid_out(array: Array, layout: str) -> Array:
    """Return the same values in another memory layout: C, F, strided or negative strides."""
    if layout == "C":
        return np.ascontiguousarray(array).reshape(array.shape)
    if layout == "F":
        return np.asarray(array, order="F")
    if array.ndim == 0:
        return array
    if layout == "strided":
        roomy = np.zeros(tuple(2 * n for n in array.shape), array.dtype)
        view = roomy[tuple(slice(None, None, 2) for _ in array.shape)]
        view[...] = array
        return view
    if layout == "negative":
        reverse = tuple(slice(None, None, -1) for _ in array.shape)
        return np.ascontiguousarray(array[reverse])[reverse]
    raise InvalidValue(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
