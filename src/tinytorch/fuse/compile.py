"""`fuse`: the decorator, and what a call does: look up its plan, and run one compiled function."""

from __future__ import annotations

import inspect
import itertools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from tinytorch.errors import FusionError, InvalidValue, ShapeError
from tinytorch.fuse.drivers import Emitted, emit
from tinytorch.fuse.program import Array, Program, safe_name, where
from tinytorch.fuse.variant import Variant
from tinytorch.native import threads

_WORTH_SHARING = 1 << 15  # elements; below, waking the threads costs more than they bring
_WORTH_ALIGNING = 1 << 15  # bytes
_MOST_PLANS = 512


def layout(array: Array) -> str:
    """Return how emitted code walks an array: 'C', 'inner' (rows without gaps) or 'strided'."""
    if array.flags.c_contiguous:
        return "C"
    return "inner" if array.strides[-1] == array.itemsize else "strided"


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an uninitialised array; a large one starts on a 64-byte boundary."""
    size_bytes = math.prod(shape) * dtype.itemsize
    if size_bytes < _WORTH_ALIGNING:
        return np.empty(shape, dtype)
    raw = np.empty(size_bytes + 64, np.uint8)
    start = -raw.__array_interface__["data"][0] % 64
    return raw[start : start + size_bytes].view(dtype).reshape(shape)


@dataclass(frozen=True)
class Code:
    """One compiled file: the two functions, and what they take."""

    serial: Callable[..., None]
    parallel: Callable[..., None]
    emitted: Emitted


class Plan:
    """Everything about calls with arguments of the same types, shapes and strides."""

    def __init__(self, owner: Fused, program: Program, arguments: tuple[Any, ...]) -> None:
        self.owner, self.program = owner, program
        self.sizes = program.sizes(arguments)
        self.shapes, self.dtypes = program.shapes(self.sizes), program.dtypes()
        self.blocks = program.few_rows(self.sizes)
        self.large = program.work(self.sizes) >= _WORTH_SHARING
        self.arrays = tuple(sorted(program.inputs))
        self.layouts = tuple(layout(arguments[i]) for i in self.arrays)
        self.ready: dict[Any, tuple[Code, list[Any]]] = {}
        self.contiguous = ("C",) * len(self.shapes)
        self.apart: tuple[int | None, ...] = (None,) * len(self.arrays)

    def run(self, arguments: tuple[Any, ...], out: Any) -> Any:
        """Compute, into `out` or fresh arrays."""
        if out is None:
            outputs = [empty(s, d) for s, d in zip(self.shapes, self.dtypes, strict=True)]
            self._call(*self.prepared(self.contiguous, self.apart, arguments), arguments, outputs)
            outputs = [o[()] if o.ndim == 0 else o for o in outputs]
            return outputs[0] if self.program.traced.single else tuple(outputs)
        given = self._check(out)
        targets, alias = self._targets(given, arguments)
        found = self.prepared(tuple(layout(t) for t in targets), alias, arguments)
        self._call(*found, arguments, targets)
        for target, wanted in zip(targets, given, strict=True):
            if target is not wanted:
                wanted[...] = target
        return out

    def _check(self, out: Any) -> list[Array]:
        given = [out] if self.program.traced.single else list(out)
        name = self.owner.__name__
        if len(given) != len(self.shapes):
            raise InvalidValue(f"{name} has {len(self.shapes)} results, out= has {len(given)}")
        for array, shape, dtype in zip(given, self.shapes, self.dtypes, strict=True):
            if not isinstance(array, np.ndarray) or array.dtype != dtype:
                seen = getattr(array, "dtype", type(array).__name__)
                raise InvalidValue(f"{name}'s out must be an ndarray of {dtype}, got {seen}")
            if array.shape != shape:
                raise ShapeError(f"{name}'s out must have shape {shape}, got {array.shape}")
            if not array.flags.writeable:
                raise InvalidValue(f"{name}'s out is read-only: pass a writable array")
        for i, first in enumerate(given):
            if any(np.may_share_memory(first, second) for second in given[:i]):
                raise InvalidValue(f"{name}'s out arrays overlap: pass one array for each result")
        return given

    def _targets(
        self, given: list[Array], arguments: tuple[Any, ...]
    ) -> tuple[list[Array], tuple[int | None, ...]]:
        """Return where to write, and which input is which result's own memory."""
        alias: list[int | None] = [None] * len(self.arrays)
        targets = list(given)
        for number, array in enumerate(given):
            same, clash = [], False
            for k, place in enumerate(self.arrays):
                other = arguments[place]
                one = array is other
                if not one and not np.may_share_memory(array, other):
                    continue
                one = one or _identical(array, other)
                clash = clash or not one or (number, place) in self.program.late
                same.append(k)
            if clash:
                targets[number] = empty(self.shapes[number], self.dtypes[number])
            else:
                for k in same:
                    alias[k] = number
        return targets, tuple(alias)

    def prepared(
        self, outs: tuple[str, ...], alias: tuple[int | None, ...], arguments: tuple[Any, ...]
    ) -> tuple[Code, list[Any]]:
        """Return the code for results in such memory, and how its arguments are found."""
        found = self.ready.get((outs, alias))
        if found is None:
            code = self.code(Variant(self.layouts, outs, alias, self.blocks))
            found = self.ready[outs, alias] = code, self._numbers(code.emitted, arguments)
        return found

    def code(self, variant: Variant) -> Code:
        """Return the compiled file for this kind of memory, from this process, disk or scratch."""
        known = self.program.compiled
        if variant not in known:
            known[variant] = self.owner._compile(self.program, self.arrays, variant)
        found: Code = known[variant]
        return found

    def _numbers(self, emitted: Emitted, arguments: tuple[Any, ...]) -> list[Any]:
        """Return how each argument is found: an array's place, a number, or how to compute it."""
        names = self.owner._array_names(self.arrays)
        hosts = self.program.traced.params
        dtypes = {n.value: n.dtype for n in self.program.graph.nodes if n.op == "param"}
        found: list[Any] = []
        for name in emitted.takes[:-1]:
            if name in names:
                found.append(("array", self.arrays[names.index(name)]))
            elif name.startswith("out"):
                found.append(("out", int(name[3:])))
            elif name.startswith("n"):
                sizes = (self.sizes.get(d, 1) for d in emitted.extents[name])
                found.append(("number", math.prod(sizes)))
            else:
                host, dtype = hosts[int(name[1:])], dtypes[int(name[1:])]
                if host.varies:
                    found.append(("host", (host.compute, dtype.type)))
                else:
                    found.append(("number", dtype.type(host.compute(arguments))))
        return found

    def _call(
        self, code: Code, takes: list[Any], arguments: tuple[Any, ...], outputs: list[Array]
    ) -> None:
        values = []
        for kind, what in takes:
            if kind == "array":
                array = arguments[what]
                values.append(_flat(array))
            elif kind == "out":
                values.append(_flat(outputs[what]))
            elif kind == "number":
                values.append(what)
            else:
                values.append(what[1](what[0](arguments)))
        count = threads.get_num_threads() if self.large else 1
        if count > 1:
            code.parallel(*values, count)
        else:
            code.serial(*values, 1)


def _flat(array: Array) -> Array:
    return array.reshape(-1) if array.ndim != 1 and array.flags.c_contiguous else array


def _identical(a: Array, b: Array) -> bool:
    return (
        a.dtype == b.dtype
        and a.shape == b.shape
        and a.strides == b.strides
        and a.__array_interface__["data"][0] == b.__array_interface__["data"][0]
    )


class Fused:
    """A NumPy function that runs as compiled loops. Call it as the function; `out=` reuses memory.

    `out` is an array, or a tuple of them where the function returns several; it may be one of the
    arguments. Raises FusionError for what can't be fused, unless `fallback` was asked for.
    """

    def __init__(
        self, function: Callable[..., Any], fallback: bool = False, rigid: bool = False
    ) -> None:
        self.function, self.fallback, self.rigid = function, fallback, rigid
        self.__name__ = getattr(function, "__name__", "fused")
        self.__doc__ = function.__doc__
        self.__wrapped__ = function
        self._signature = inspect.signature(function)
        kinds = {p.kind for p in self._signature.parameters.values()}
        if kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
            raise FusionError(
                f"can't fuse {where(function)}\n  it takes *args or **kwargs; name them"
            )
        self.names = tuple(safe_name(name) for name in self._signature.parameters)
        self._static: frozenset[int] = frozenset()
        self._plans: dict[Any, Plan | None] = {}
        self._programs: dict[Any, Program] = {}
        self._warned = False

    def __call__(self, *args: Any, out: Any = None, **named: Any) -> Any:
        """Compute the function of these arguments."""
        if named or len(args) != len(self.names):
            args = self._bound(args, named)
        try:
            key = self._exact(args)
            plan = self._plans[key] if key in self._plans else self._plan(args)
        except FusionError as error:
            if not self.fallback:
                raise
            self._warn(error)
            plan = None
        if plan is None:
            return self._unfused(args, out)
        return plan.run(args, out)

    def _bound(self, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, ...]:
        bound = self._signature.bind(*args, **named)
        bound.apply_defaults()
        return tuple(bound.arguments.values())

    def _exact(self, args: tuple[Any, ...]) -> Any:
        key: list[Any] = []
        for i, value in enumerate(args):
            kind = type(value)
            if kind is np.ndarray:
                key.append((value.dtype, value.shape, value.strides))
            elif (kind is int or kind is float) and i not in self._static:
                key.append(kind)
            elif isinstance(value, np.generic):
                key.append(value.dtype)
            elif kind.__hash__ is None:
                raise FusionError(
                    f"can't fuse {self.__name__} for a {kind.__name__}: pass plain arrays, numbers "
                    "and hashable options"
                )
            else:
                key.append((kind, value))
        return tuple(key)

    def _kind(self, args: tuple[Any, ...]) -> Any:
        """Return what calls must have in common to share a program."""
        exact = self._exact(args)
        return tuple(
            (value.dtype, tuple(map(self._known_size, value.shape, itertools.repeat(i))))
            if isinstance(value, np.ndarray)
            else key
            for i, (value, key) in enumerate(zip(args, exact, strict=True))
        )

    def _known_size(self, extent: int, place: int) -> int:
        """Return the size of an argument's axis where a program depends on it, or 0."""
        return extent if place in self._static or (extent == 1 and not self.rigid) else 0

    def _plan(self, args: tuple[Any, ...]) -> Plan | None:
        """Make the plan for such arguments; None: run the function as it is."""
        arrays = [a for a in args if isinstance(a, np.ndarray)]
        plan = None
        if any(a.ndim for a in arrays) and all(a.size for a in arrays):
            try:
                plan = Plan(self, self._program(args), args)
            except FusionError as error:
                if not self.fallback:
                    raise
                self._warn(error)
        if len(self._plans) >= _MOST_PLANS:
            self._plans.clear()
        self._plans[self._exact(args)] = plan
        return plan

    def _program(self, args: tuple[Any, ...]) -> Program:
        kind = self._kind(args)
        if kind not in self._programs:
            program = Program.of(self.function, self.names, args, self.rigid)
            if not program.traced.static <= self._static:
                self._static |= program.traced.static
                self._plans.clear()
                self._programs.clear()
            self._programs[self._kind(args)] = program
            return program
        return self._programs[kind]

    def _warn(self, error: FusionError) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(f"{self.__name__} runs unfused: {error}", RuntimeWarning, stacklevel=4)

    def _unfused(self, args: tuple[Any, ...], out: Any) -> Any:
        result = self.function(*args)
        if out is None:
            return result
        single = not isinstance(result, tuple | list)
        for target, value in zip(*(([out], [result]) if single else (out, result)), strict=True):
            target[...] = value
        return out

    def _array_names(self, arrays: tuple[int, ...]) -> tuple[str, ...]:
        return tuple(self.names[i] for i in arrays)

    def emit(self, program: Program, arrays: tuple[int, ...], variant: Variant) -> Emitted:
        """Return the file for a program and a kind of memory."""
        names = self._array_names(arrays)
        return emit(program.graph, arrays, program.nests, variant, names, self.__name__)

    def _compile(self, program: Program, arrays: tuple[int, ...], variant: Variant) -> Code:
        from tinytorch.native import codecache  # it loads Numba

        emitted = self.emit(program, arrays, variant)
        module = codecache.load_generated(emitted.source, f"{self.__name__}_{emitted.digest}")
        return Code(
            getattr(module, f"serial_{emitted.digest}"),
            getattr(module, f"parallel_{emitted.digest}"),
            emitted,
        )

    def explain(self, *args: Any, measure: bool = False, **named: Any) -> Any:
        """Return how a call is fused, what it costs and what to expect; str() shows it."""
        from tinytorch.fuse.explain import explain

        return explain(self, self._bound(args, named), measure)


@overload
def fuse(function: Callable[..., Any]) -> Fused: ...
@overload
def fuse(*, fallback: bool = ..., rigid: bool = ...) -> Callable[[Callable[..., Any]], Fused]: ...
def fuse(
    function: Callable[..., Any] | None = None, *, fallback: bool = False, rigid: bool = False
) -> Fused | Callable[[Callable[..., Any]], Fused]:
    """Turn a function of arrays and numbers, written with NumPy, into compiled loops.

    It is traced at the first call with arguments of new dtypes, ranks or axes of size one; from
    then on a call is one walk over memory. `fallback=True` runs what can't be fused as it is, with
    one warning; without it that is a FusionError which names the line.

    `rigid=True` never stretches an axis of size one of one argument to another's size (ShapeError
    instead), so that one program serves arguments of all sizes: what kernels want, who know what
    shapes they were given.
    """
    if function is None:
        return lambda decorated: Fused(decorated, fallback, rigid)
    return Fused(function, fallback, rigid)
