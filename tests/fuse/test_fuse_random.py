"""Random programs, fused and plain: same dtypes, shapes and values.

Arithmetic, comparisons and folds of integers must agree to the bit; transcendental functions and
sums of floats within a bound. What rounding can tip over (floor, comparisons, argmax ...) is only
applied to values that are exact. Hundreds are run as emitted, in plain Python; a part of them is
compiled. `python tests/fuse/test_fuse_random.py 5000 [compiled]` tries more.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import hypothesis
import numpy as np
import plain_python
from hypothesis import strategies as st
from plain_python import quiet

from tinytorch.errors import FusionError
from tinytorch.fuse import fuse, variant
from tinytorch.native import codecache

SMOOTH = ("exp", "expm1", "tanh", "log", "log1p", "sin", "cos")
EXACT_UNARY = ("negative", "absolute", "square", "sqrt", "reciprocal")
STEPS = ("floor", "ceil", "rint", "sign", "isnan", "isfinite", "isinf", "logical_not")
EXACT_BINARY = ("add", "subtract", "multiply", "divide", "maximum", "minimum")
TESTS = ("less", "less_equal", "equal", "not_equal", "greater_equal", "logical_and")
WHOLE = ("floor_divide", "remainder")
FOLDS = ("sum", "mean", "prod", "var", "std")
EXACT_FOLDS = ("max", "min")
STEP_FOLDS = ("any", "all", "argmax", "argmin")
DTYPES = ("float32", "float64", "int32", "int64", "bool", "uint8", "int16")
NUMBERS = ("2", "0.5", "-1", "3", "1.5", "0")
LAYOUTS = ("C", "F", "strided", "negative")


@dataclass(frozen=True)
class Value:
    """A name in the program, and whether its value is free of rounding that may differ."""

    name: str
    exact: bool


class Writer:
    """Draws one program: statements over arguments a0, a1, ..."""

    def __init__(self, draw: Any, arguments: int) -> None:
        self.draw, self.lines = draw, []
        self.values = [Value(f"a{i}", True) for i in range(arguments)]

    def one_of(self, choices: Any) -> Any:
        return self.draw(st.sampled_from(list(choices)))

    def pick(self, exact: bool = False) -> Value:
        return self.one_of(v for v in self.values if v.exact or not exact)

    def add(self, text: str, exact: bool) -> None:
        name = f"v{len(self.lines)}"
        self.lines.append(f"{name} = {text}")
        self.values.append(Value(name, exact))

    def statement(self) -> None:
        kind = self.draw(st.integers(0, 11))
        a = self.pick()
        if kind <= 1:
            self.add(f"np.{self.one_of(SMOOTH)}({a.name})", False)
        elif kind <= 3:
            self.add(f"np.{self.one_of(EXACT_UNARY)}({a.name})", a.exact)
        elif kind == 4:
            self.add(f"np.{self.one_of(STEPS)}({self.pick(True).name})", True)
        elif kind <= 6:
            b = self.pick() if self.draw(st.booleans()) else Value(self.one_of(NUMBERS), True)
            self.add(f"np.{self.one_of(EXACT_BINARY)}({a.name}, {b.name})", a.exact and b.exact)
        elif kind == 7:
            a, b = self.pick(True), self.pick(True)
            self.add(f"np.{self.one_of(TESTS + WHOLE)}({a.name}, {b.name})", True)
        elif kind == 8:
            test, b = self.pick(True), self.pick()
            self.add(f"np.where({test.name}, {a.name}, {b.name})", a.exact and b.exact)
        elif kind == 9:
            self.add(f"{a.name}[..., None]", a.exact)
        else:
            self.fold(a)

    def fold(self, a: Value) -> None:
        axis = self.one_of(("-1", "-1", "None", "(-2, -1)"))
        keep = self.draw(st.booleans())
        name = self.one_of(FOLDS + EXACT_FOLDS + STEP_FOLDS)
        if name in STEP_FOLDS:
            a = self.pick(True)
            axis = axis if axis != "(-2, -1)" or name in ("any", "all") else "-1"
        exact = name not in FOLDS and a.exact
        self.add(f"{a.name}.{name}(axis={axis}, keepdims={keep})", exact)


@st.composite
def programs(draw: Any) -> tuple[str, tuple[bool, ...], list[np.ndarray[Any, Any]]]:
    """Draw a function's source, which of its results are exact, and arguments for it."""
    rank = draw(st.integers(1, 4))
    full = tuple(draw(st.sampled_from((2, 3, 5, 37 if rank < 3 else 4))) for _ in range(rank))
    count = draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    arguments = [_array(draw, rng, full if i == 0 else _part(draw, full)) for i in range(count)]
    writer = Writer(draw, count)
    for _ in range(draw(st.integers(3, 9))):
        writer.statement()
    results = writer.values[count:][-3:]
    names = ", ".join(f"a{i}" for i in range(count))
    body = "\n    ".join([*writer.lines, f"return {', '.join(v.name for v in results)},"])
    return f"def program({names}):\n    {body}\n", tuple(v.exact for v in results), arguments


def _part(draw: Any, full: tuple[int, ...]) -> tuple[int, ...]:
    """Return a shape that broadcasts to the full one."""
    ones = tuple(1 if draw(st.integers(0, 3)) == 0 else n for n in full)
    return ones[draw(st.integers(0, len(full) - 1)) :]


def _array(draw: Any, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    from tinytorch.ops.spec import laid_out

    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    values = 3 * rng.standard_normal(shape)
    if dtype.kind == "f" and draw(st.booleans()):
        odd = draw(st.sampled_from((np.nan, np.inf, -np.inf, -0.0)))
        values.flat[rng.integers(values.size)] = odd
    values = np.abs(values) if dtype.kind == "u" else values
    values = values > 0 if dtype.kind == "b" else values
    return laid_out(values.astype(dtype), draw(st.sampled_from(LAYOUTS)))


def agrees(got: Any, want: Any, exact: bool, single: bool) -> bool:
    """Say whether a result is NumPy's: type, shape, and value to the bit or within a bound."""
    if type(got) is not type(want) or got.dtype != want.dtype or got.shape != want.shape:
        return False
    if want.dtype.kind != "f" or exact:
        return np.array_equal(got, want, equal_nan=want.dtype.kind == "f")
    single = single or want.dtype == np.float32
    close = (2e-4, 1e-5) if single else (1e-10, 1e-12)
    return np.allclose(got, want, *close, equal_nan=True)


def try_one(source: str, exact: tuple[bool, ...], arguments: list[Any]) -> None:
    """Run one program both ways and compare."""
    space: dict[str, Any] = {"np": np}
    exec(source, space)
    plain = space["program"]
    try:
        with np.errstate(all="ignore"):
            want = plain(*arguments)
    except (TypeError, ValueError, OverflowError):
        hypothesis.reject()
    before = [a.copy() for a in arguments]
    try:
        got = quiet(fuse(plain))(*arguments)
    except FusionError:
        hypothesis.reject()
    # What is float32 on the way to a float64 brings its rounding along.
    single = any(a.dtype.itemsize <= 4 for a in arguments)
    for g, w, e in zip(got, want, exact, strict=True):
        assert agrees(g, w, e, single), (
            f"{source}\n{[(a.dtype, a.shape) for a in arguments]}\n{g}\n{w}"
        )
    assert all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        for a, b in zip(arguments, before, strict=True)
    )


QUICK = {
    "suppress_health_check": [
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.filter_too_much,
        hypothesis.HealthCheck.function_scoped_fixture,
    ],
    "phases": [hypothesis.Phase.explicit, hypothesis.Phase.generate],
    "deadline": None,
}


@hypothesis.settings(max_examples=400, **QUICK)
@hypothesis.given(programs(), st.booleans())
def test_random_programs_agree_with_numpy(monkeypatch: Any, drawn: Any, vast: bool) -> None:
    monkeypatch.setattr(codecache, "load_generated", plain_python.load_generated)
    monkeypatch.setattr(variant, "vast_bytes", lambda: 0 if vast else None)
    try_one(*drawn)


@hypothesis.settings(max_examples=30, **QUICK)
@hypothesis.given(programs(), st.booleans())
def test_random_programs_agree_with_numpy_when_compiled(
    monkeypatch: Any, drawn: Any, vast: bool
) -> None:
    monkeypatch.setattr(variant, "vast_bytes", lambda: 0 if vast else None)
    try_one(*drawn)


if __name__ == "__main__":
    if "compiled" not in sys.argv:
        codecache.load_generated = plain_python.load_generated
    many = hypothesis.settings(
        max_examples=int(sys.argv[1]),
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    many(hypothesis.given(programs())(lambda drawn: try_one(*drawn)))()
