"""`@kernel` makes a function a rung; `ladder(op)` lists what the op's folder holds.

Nothing is registered by hand: a rung is the Kernel object in `kernels/<op>/<name>.py`, and a
user's own file is read the same way. A rung's module is imported only when it is asked for, so
that using the library's rungs never loads Numba.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from tinytorch import ops
from tinytorch.errors import InvalidValue, UnknownName
from tinytorch.ops.spec import FLOATS, Array


@dataclass(frozen=True)
class Support:
    """Which inputs a kernel takes: a test of the arrays, and the words for it."""

    words: str
    test: Callable[[tuple[Array, ...]], bool]


def _same_contiguous(arrays: tuple[Array, ...]) -> bool:
    first = arrays[0]
    return all(a.flags.c_contiguous and a.shape == first.shape for a in arrays)


ANY = Support("any shapes and strides", lambda arrays: True)
CONTIGUOUS = Support("C-contiguous arrays of one shape", _same_contiguous)


@dataclass(frozen=True)
class Kernel:
    """One rung: how an op is computed.

    `function(*arrays, out=None, **params)` returns the output (`out` itself when given).
    `above` is the rung that this one changed by one idea. `reuses_out` says that the rung is meant
    to be given a preallocated output: ladders and benchmarks then do so. `worthwhile_from` is the
    size of the largest input, in elements, from which it pays for its start-up: backends with a
    fixed order pass it over below that. `interpreted` rungs are slow enough to need small inputs.
    """

    op: str
    name: str
    function: Callable[..., Any]
    above: str | None = None
    dtypes: tuple[str, ...] | None = FLOATS
    support: Support = ANY
    reuses_out: bool = False
    interpreted: bool = False
    worthwhile_from: int = 0
    source: Path = field(default=Path(), compare=False)

    def __call__(self, *arrays: Array, **keywords: Any) -> Any:
        """Run the kernel."""
        return self.function(*arrays, **keywords)

    @property
    def idea(self) -> str:
        """The first line of what its module says about it."""
        text = inspect.getmodule(self.function)
        doc = (text.__doc__ if text else None) or self.function.__doc__ or self.name
        return doc.strip().splitlines()[0]

    def refuses(self, arrays: tuple[Array, ...]) -> str | None:
        """Return why these arrays are not taken, or None where they are."""
        if self.dtypes is not None:
            described = ops.get(self.op)
            dtype = arrays[0].dtype
            valued = described.valued(arrays)
            alike = dtype.isnative and all(a.dtype == dtype for a in valued)
            if dtype.name not in self.dtypes or not alike:
                seen = ", ".join(sorted({str(a.dtype) for a in valued}))
                return f"takes one dtype of {', '.join(self.dtypes)}; got {seen}"
            if any(arrays[i].dtype.kind not in "iu" for i in described.indices):
                return "takes integers as indices"
        if not self.support.test(arrays):
            return f"takes {self.support.words}"
        return None


def kernel(
    op: str,
    *,
    above: str | None = None,
    dtypes: tuple[str, ...] | None = FLOATS,
    support: Support = ANY,
    reuses_out: bool = False,
    interpreted: bool = False,
    worthwhile_from: int = 0,
) -> Callable[[Callable[..., Any]], Kernel]:
    """Make the decorated function a rung of `op`'s ladder; see Kernel for what the options say.

    Example: `@kernel("matmul", above="reordered")`. Raises UnknownName for an op that is not one.
    """
    ops.get(op)

    def register(function: Callable[..., Any]) -> Kernel:
        parameters = inspect.signature(function).parameters
        if "out" not in parameters:
            raise InvalidValue(
                f"kernel {function.__name__!r} must take out=None: write into it when it is given, "
                "and return it"
            )
        return Kernel(
            op=op,
            name=function.__name__,
            function=function,
            above=above,
            dtypes=dtypes,
            support=support,
            reuses_out=reuses_out,
            interpreted=interpreted,
            worthwhile_from=worthwhile_from,
            source=Path(inspect.getfile(inspect.unwrap(function))),
        )

    return register


def _kernels_of(module: ModuleType) -> list[Kernel]:
    return [value for value in vars(module).values() if isinstance(value, Kernel)]


@functools.cache
def rung_names(op: str) -> tuple[str, ...]:
    """Return the names of an op's rungs, sorted, without importing them."""
    ops.get(op)
    folder = Path(__file__).parent / op
    return tuple(sorted(m.name for m in pkgutil.iter_modules([str(folder)])))


@functools.cache
def get(op: str, name: str) -> Kernel:
    """Return one rung; an unknown one is an error that offers the nearest."""
    if name not in rung_names(op):
        raise UnknownName(f"kernel of {op}", name, rung_names(op))
    module = importlib.import_module(f"tinytorch.kernels.{op}.{name}")
    found = [k for k in _kernels_of(module) if k.name == name]
    assert len(found) == 1, f"kernels/{op}/{name}.py must define the kernel {name}"
    return found[0]


@functools.cache
def ladder(op: str) -> tuple[Kernel, ...]:
    """Return an op's rungs from the bottom up: each stands after the rung that it changed."""
    return _climb([get(op, name) for name in rung_names(op)])


def _climb(rungs: Iterable[Kernel]) -> tuple[Kernel, ...]:
    waiting = sorted(rungs, key=lambda rung: rung.name)
    placed: list[Kernel] = []
    while waiting:
        done = {rung.name for rung in placed}
        ready = [rung for rung in waiting if rung.above is None or rung.above in done]
        assert ready, f"rungs stand on nothing: {[rung.name for rung in waiting]}"
        # Follow the branch just extended before opening another one.
        newest = {rung.name: i for i, rung in enumerate(placed)}
        chosen = max(ready, key=lambda rung: newest.get(rung.above or "", -1))
        placed.append(chosen)
        waiting.remove(chosen)
    return tuple(placed)


def load_file(path: Path) -> tuple[Kernel, ...]:
    """Return the kernels of a user's own Python file.

    Raises InvalidValue when the file is missing, fails to run, or holds no kernel.
    """
    if not path.is_file():
        raise InvalidValue(f"no kernel file at {path}")
    spec = importlib.util.spec_from_file_location(f"tinytorch_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InvalidValue(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # as an import does: dataclasses and pickle look there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise InvalidValue(f"{path} failed to run: {type(error).__name__}: {error}") from error
    found = tuple(k for k in _kernels_of(module) if k.source == Path(inspect.getfile(module)))
    if not found:
        raise InvalidValue(
            f"{path} defines no kernel: decorate a function with "
            "`@kernel('matmul')` from tinytorch.kernels.registry"
        )
    return found
